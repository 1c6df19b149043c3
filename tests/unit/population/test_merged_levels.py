"""Levels that count as one: totals add up, respondents and agents fall into them, mistakes are named."""

import polars as pl
import pytest

from assets.population.calibration import calibrate_respondents
from assets.population.errors import EmptyMarginLevel, InconsistentMargins, InfeasibleMargins
from assets.population.laying import compare_with_margins
from assets.population.margins import load_margins, margins_from_frame
from assets.population.merged_levels import merge_levels
from assets.population.population_file import LevelMerge, MarginSource, PopulationFile
from assets.population.shards import plan_population
from assets.population.surveys import load_respondents
from assets.population.synthesis import make_population
from assets.sources.catalogue import DataCatalogue
from validation.margin_levels import combinations_of_level

RACES = ("white", "black", "hispanic", "other")
THIN = LevelMerge(attribute="race_ethnicity", levels=("other", "black"), geographies=("US-SD",))


def margins():
    rows = [
        {"geography": place, "margin": "race_ethnicity", "level": level, "count": count}
        for place, counts in {"US-SD": (70, 10, 5, 15), "US-ND": (80, 4, 6, 10)}.items()
        for level, count in zip(RACES, counts, strict=True)
    ]
    described = [pl.lit("test").alias("source"), pl.lit(2016).alias("year")]
    return margins_from_frame(pl.DataFrame(rows).with_columns(described), "own.csv")


def test_counts_of_merged_levels_add_up_where_they_are_merged():
    merged = merge_levels(margins(), [THIN], "own")
    of = {(place, level): count for place, level, count in merged.select("geography", "level", "count").iter_rows()}
    assert of["US-SD", "black|other"] == 25
    assert of["US-ND", "black"] == 4
    assert merged.filter(pl.col("geography") == "US-SD")["share"].sum() == pytest.approx(1.0)
    assert merged.height == 7


def test_people_of_either_level_are_in_the_merged_one():
    people = pl.DataFrame({"state": ["SD", "SD", "SD", "ND"], "race_ethnicity": ["black", "other", "white", "black"]})
    compared = compare_with_margins(people, merge_levels(margins(), [THIN], "own"))
    found = dict(compared.select("level", "found").iter_rows())
    assert found["SD*black|other"] == 2
    assert found["ND*black"] == 1


def test_a_level_holds_every_combination():
    assert combinations_of_level("SD*black|other*male|female") == [
        "SD*black*male",
        "SD*black*female",
        "SD*other*male",
        "SD*other*female",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attribute": "race"}, r"own: merge names the unknown attribute 'race'"),
        ({"levels": ("black", "green")}, r"own: merge of race_ethnicity lists black, green\. Allowed: two or more of"),
        ({"levels": ("black", "black")}, r"lists black, black\. Allowed: two or more"),
        ({"geographies": ("US-WY",)}, r"is for US-WY, where no margin uses it\. It is used in: US-SD, US-ND"),
        ({"attribute": "sex", "levels": ("male", "female")}, r"It is used in: no geography"),
    ],
)
def test_wrong_merges_are_named(change, message):
    with pytest.raises(InconsistentMargins, match=message):
        merge_levels(margins(), [THIN.model_copy(update=change)], "own")


def test_a_value_in_two_levels_is_refused():
    doubled = margins().with_columns(pl.col("level").replace({"black": "black|other"}))
    with pytest.raises(InconsistentMargins, match=r"lists a level twice: other belongs to black\|other and to other"):
        margins_from_frame(doubled, "own.csv")


def test_race_by_state_holds_to_the_person_once_the_two_levels_without_respondents_are_merged(data_mirror, tmp_path):
    catalogue = DataCatalogue(None, data_mirror, tmp_path)
    respondents = load_respondents(catalogue, ["cces_2016"]).frame
    wanted = MarginSource(
        source="acs_2018_cells", geographies="states", margins=("race_ethnicity", "education", "sex*age_group")
    )
    plain = PopulationFile(universe="state <> 'DC'", margins=(wanted,))
    with pytest.raises(EmptyMarginLevel, match=r"2 of 200 levels .* SD\*black \(total 7,638\), WY\*black"):
        calibrate_respondents(respondents, load_margins(catalogue, plain.margins).frame, plain)

    merged = wanted.model_copy(update={"merge": (THIN.model_copy(update={"geographies": ("US-SD", "US-WY")}),)})
    table = load_margins(catalogue, (merged,)).frame
    calibration = calibrate_respondents(respondents, table, plain)
    assert calibration.diagnostics.max_margin_error_after <= 1e-6
    agents = make_population(plan_population(calibration.seed, calibration.frame, table, 60_000, 3)).agents
    compared = compare_with_margins(agents, table)
    assert (compared["found"] - compared["target"]).abs().max() < 1.0

    # the 11,086 Black citizens of the two states have no respondent, so the nation's margin falls short of them
    nation = MarginSource(source="acs_2018_cells", geographies="nation", margins=("race_ethnicity",))
    with pytest.raises(InfeasibleMargins, match=r"race_ethnicity=black by -"):
        calibrate_respondents(respondents, load_margins(catalogue, (merged, nation)).frame, plain)
