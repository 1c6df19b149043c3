"""A population of the user's own: own survey, own margins, population file, second survey; and those of a mirror."""

import numpy as np
import polars as pl
import pyreadstat
import pytest

from assets.population.calibration import calibrate_respondents
from assets.population.diagnostics import calibration_diagnostics
from assets.population.errors import InconsistentMargins, MissingMarginAttribute, PopulationFileError
from assets.population.imputation_quality import imputation_quality_rows
from assets.population.laying import compare_with_margins
from assets.population.margins import load_margins
from assets.population.population_file import (
    CalibrationEntry,
    MarginSource,
    PopulationFile,
    ReplicateEntry,
    read_population_file,
)
from assets.population.second_survey import second_respondents
from assets.population.shards import plan_population
from assets.population.surveys import load_respondents, surveys_to_load
from assets.population.synthesis import make_population
from assets.sources.catalogue import DataCatalogue
from assets.sources.errors import CodebookError
from orchestration.settings import PROJECT_ROOT
from validation.contracts import CONTRACTS

FILE = """\
seed_survey: town
second_survey: cces_2016
incomplete: impute
margins:
  - source: town_margins
calibration: {method: logit, bounds: [0.1, 8]}
noise: distinct
"""
MARGINS = """\
geography,margin,level,count,source,year
US,sex,male,480,town register,2024
US,sex,female,520,town register,2024
US,age_group,18-29,200,town register,2024
US,age_group,30-39,200,town register,2024
US,age_group,40-49,150,town register,2024
US,age_group,50-59,150,town register,2024
US,age_group,60-69,150,town register,2024
US,age_group,70+,150,town register,2024
US-NY,sex,male,300,town register,2024
US-NY,sex,female,300,town register,2024
"""


@pytest.fixture
def own(user_survey):
    """A larger town survey with a state, own margins and a population file."""
    rng = np.random.default_rng(4)
    gender, years = rng.integers(1, 3, 150), rng.integers(18, 91, 150).astype(object)
    years[7] = ""
    rows = zip(gender, years, rng.uniform(0.5, 2, 150), rng.integers(1, 3, 150), rng.integers(0, 2, 150), strict=True)
    lines = [f"{g},{y},{w:.3f},{view},{'NY' if s else 'TX'}" for g, y, w, view, s in rows]
    (user_survey / "town.csv").write_text("gender,years,w,view,state\n" + "\n".join(lines) + "\n")
    codebook = (user_survey / "town.yaml").read_text()
    state = "attributes:\n  state: {column: state, recode: {'NY': 'NY', 'TX': 'TX'}}\n"
    (user_survey / "town.yaml").write_text(codebook.replace("attributes:\n", state))
    (user_survey / "town_margins.csv").write_text(MARGINS)
    folder = user_survey / "file"
    folder.mkdir()
    (folder / "population.yaml").write_text(FILE)
    return user_survey


def test_a_town_becomes_a_population(own):
    file = read_population_file(own / "file" / "population.yaml")
    catalogue = DataCatalogue(own, None, own / "cache")
    respondents = load_respondents(catalogue, surveys_to_load(catalogue, file)).frame
    margins = load_margins(catalogue, file.margins).frame
    calibration = calibrate_respondents(respondents, margins, file)
    assert calibration.diagnostics.max_margin_error_after <= 1e-6
    assert calibration.diagnostics.num_imputed == 1
    second = second_respondents(respondents, margins, file)
    plan = plan_population(
        calibration.seed, calibration.frame, margins, 500, 3, second=second, is_distinct=file.noise == "distinct"
    )
    made = make_population(plan)
    agents = CONTRACTS["agents"].validate(made.agents)
    CONTRACTS["households"].validate(made.households)
    compared = compare_with_margins(agents, margins)
    expected = compared.filter(~pl.col("margin").str.starts_with("state"))
    assert (expected["found"] - expected["target"]).abs().max() < 1.0
    new_yorkers = agents.filter(pl.col("state") == "NY")
    assert abs(new_yorkers.filter(pl.col("sex") == "male").height - 150) <= 1
    filled = set(agents["imputed_attributes"].explode().drop_nulls())
    assert {"party", "religion_importance", "income_group", "past_vote"} <= filled
    donors = calibration.seed.join(calibration.frame.drop("design_weight"), on="respondent_id")
    quality = imputation_quality_rows(agents, donors, second, file, 1)
    assert dict(quality.select("attribute", "survey").iter_rows())["party"] == "cces_2016"


def test_respondents_without_a_margin_attribute_are_not_dropped_silently(own):
    file = read_population_file(own / "file" / "population.yaml").model_copy(update={"incomplete": "refuse"})
    catalogue = DataCatalogue(own, None, own / "cache")
    respondents = load_respondents(catalogue, ["town"]).frame
    margins = load_margins(catalogue, file.margins).frame
    with pytest.raises(MissingMarginAttribute, match=r"age_group 1\. Say incomplete: impute"):
        calibrate_respondents(respondents, margins, file)
    left = calibrate_respondents(respondents, margins, file.model_copy(update={"incomplete": "leave_out"}))
    assert (left.diagnostics.num_left_out, left.frame.height) == (1, respondents.height - 1)


def test_states_cannot_hold_more_people_than_the_nation(own):
    (own / "town_margins.csv").write_text(MARGINS.replace("US-NY,sex,male,300", "US-NY,sex,male,481"))
    with pytest.raises(InconsistentMargins, match="sex=male sums to 481 over 1 states, but is 480"):
        load_margins(DataCatalogue(own, None, own / "cache"), [MarginSource(source="town_margins")])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("method: fancy", r"line 6: calibration.method.*'linear', 'raking' or 'logit'.*found 'fancy'"),
        ("methud: logit", r"line 6: calibration.methud: Extra inputs are not permitted"),
        ("trim: 0.5", r"line 6: calibration.trim: .*greater than 1"),
    ],
)
def test_a_wrong_population_file_names_the_line(own, entry, message):
    path = own / "file" / "population.yaml"
    path.write_text(FILE.replace("{method: logit, bounds: [0.1, 8]}", "{" + entry + "}"))
    with pytest.raises(PopulationFileError, match=message):
        read_population_file(path)
    with pytest.raises(PopulationFileError, match="does not exist"):
        read_population_file(own / "nowhere.yaml")


@pytest.mark.parametrize("suffix", [".dta", ".sav", ".zsav"])
def test_stata_and_spss_files_load_like_csv(user_survey, suffix):
    frame = pl.read_csv(user_survey / "town.csv").to_pandas().astype(float)
    path = user_survey / f"town{suffix}"
    if suffix == ".dta":
        pyreadstat.write_dta(frame, path)
    else:
        pyreadstat.write_sav(frame, path, compress=suffix == ".zsav", missing_ranges={"view": [9]})
    codebook = user_survey / "town.yaml"
    catalogue = DataCatalogue(user_survey, None, user_survey / "cache")
    from_csv = load_respondents(catalogue, ["town"]).frame
    codebook.write_text(codebook.read_text().replace("town.csv", path.name))
    assert load_respondents(catalogue, ["town"]).frame.equals(from_csv)


def test_interviews_of_one_person_are_linked(user_survey):
    first = "gender,years,w,view,id,year\n1,25,1,1,7,2020\n"
    (user_survey / "town.csv").write_text(first + "1,27,1,2,7,2022\n2,50,1,1,8,2022\n")
    codebook = (user_survey / "town.yaml").read_text().replace("wave: 2024", "wave: {column: year}\nperson: id")
    (user_survey / "town.yaml").write_text(codebook)
    catalogue = DataCatalogue(user_survey, None, user_survey / "cache")
    frame = load_respondents(catalogue, ["town"]).frame
    assert frame["person_id"].to_list() == ["town-7", "town-7", "town-8"]
    (user_survey / "town.csv").write_text(first + "1,27,1,2,7,2020\n")
    with pytest.raises(CodebookError, match=r"line \d+: column 'id' repeats within a wave .*found \[7\]"):
        load_respondents(catalogue, ["town"])


def test_diagnostics_hold_errors_weights_cells_and_standard_errors(embedded):
    file = PopulationFile(replicates=ReplicateEntry(method="jackknife", number=8))
    rows = calibration_diagnostics(
        embedded.calibration.seed, embedded.calibration.frame, embedded.margins, file, rng_seed=1
    )
    value = {(metric, where): number for metric, where, number in rows.select("metric", "slice", "value").iter_rows()}
    assert value["margin_error_after", "all"] <= 1e-6 < value["margin_error_before", "all"]
    facts = embedded.calibration.diagnostics
    assert value["kish_design_effect_after", "all"] == pytest.approx(facts.design_effect_after)
    assert value["standard_error", "sex=male"] < 1e-6 < value["standard_error_design_weights", "sex=male"]
    assert 1e-4 < value["standard_error", "ideology=moderate"] < 0.02
    assert value["num_respondents", "region=south"] > 10_000


@pytest.mark.parametrize("seed_survey", ["cces_2016", "gss_2016_2020_panel"])
def test_populations_of_the_mirror_meet_their_margins_to_the_person(data_mirror, tmp_path, seed_survey):
    nation = ("race_ethnicity*education", "region*race_ethnicity", "sex*age_group")
    of_states = [MarginSource(source="acs_2018_cells", geographies="states", margins=("sex", "age_group", "education"))]
    file = PopulationFile(
        seed_survey=seed_survey,
        wave=2016 if seed_survey == "cces_2016" else 2018,
        universe="state <> 'DC'" if seed_survey == "cces_2016" else None,
        incomplete="leave_out",
        second_survey=None if seed_survey == "cces_2016" else "cces_2016",
        margins=(
            MarginSource(source="acs_2018_cells", geographies="nation", margins=nation),
            *(of_states if seed_survey == "cces_2016" else []),
        ),
        calibration=CalibrationEntry(trim=12.0) if seed_survey != "cces_2016" else CalibrationEntry(),
    )
    catalogue = DataCatalogue(None, data_mirror, tmp_path)
    names = [seed_survey, *([file.second_survey] if file.second_survey else [])]
    respondents = load_respondents(catalogue, names).frame
    margins = load_margins(catalogue, file.margins).frame
    calibration = calibrate_respondents(respondents, margins, file)
    assert calibration.diagnostics.max_margin_error_after <= 1e-6
    second = second_respondents(respondents, margins, file)
    made = make_population(plan_population(calibration.seed, calibration.frame, margins, 3_000, 11, second=second))
    compared = compare_with_margins(CONTRACTS["agents"].validate(made.agents), margins)
    assert (compared["found"] - compared["target"]).abs().max() < 1.0


def test_the_documented_population_file_and_the_shipped_one_are_valid(tmp_path):
    page = (PROJECT_ROOT / "docs" / "how-to" / "calibrate-a-population.md").read_text(encoding="utf-8")
    path = tmp_path / "population.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0])
    file = read_population_file(path)
    assert set(PopulationFile.model_fields) == file.model_fields_set
    assert set(CalibrationEntry.model_fields) - file.calibration.model_fields_set == {"max_iterations"}
    assert read_population_file() == PopulationFile()
    assert read_population_file(seed_survey="town").seed_survey == "town"


def test_every_codebook_that_ships_fits_its_file(data_mirror, tmp_path):
    catalogue = DataCatalogue(None, data_mirror, tmp_path)
    names = ["gss_trend_1972_2024", "cces_2018_abortion_party", "cces_2018_sample", "gss_2016_2020_panel"]
    frame = CONTRACTS["survey_respondents"].validate(load_respondents(catalogue, names).frame)
    assert dict(frame.group_by("survey").len().iter_rows())["gss_trend_1972_2024"] == 75_699
    panel = frame.filter(pl.col("survey") == "gss_2016_2020_panel").group_by("person_id").len()
    assert dict(panel["len"].value_counts().iter_rows()) == {1: 3_392, 2: 1_823}
