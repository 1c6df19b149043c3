"""Codebooks and harmonisation: what they yield, and what they refuse with file and line."""

import polars as pl
import pytest

from assets.population.harmonisation import harmonise_survey
from assets.population.surveys import load_respondents
from assets.sources.catalogue import DataCatalogue
from assets.sources.codebooks import load_codebook
from assets.sources.errors import CatalogueError, CodebookError
from validation.contracts import CONTRACTS


@pytest.fixture
def edited(user_survey):
    """Loads the town survey after replacing text in its codebook."""

    def load(old, new):
        path = user_survey / "town.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        return harmonise_survey(pl.read_csv(user_survey / "town.csv"), load_codebook(path))

    return load


def test_users_survey_becomes_respondents(user_survey, tmp_path):
    respondents = load_respondents(DataCatalogue(user_survey, None, tmp_path / "cache"), ["town"])
    frame = CONTRACTS["survey_respondents"].validate(respondents.frame)
    assert frame["respondent_id"].to_list() == ["town-2024-0", "town-2024-1", "town-2024-2"]
    assert frame["sex"].to_list() == ["male", "female", "female"]
    assert frame["age_group"].to_list() == ["18-29", "70+", "40-49"]
    assert frame["design_weight"].to_list() == [0.5, 1.5, 2.0]
    assert frame["item_charge"].to_list() == ["support", "oppose", None]
    assert frame["party"].to_list() == [None] * 3
    assert respondents.uses[0]["num_minors_left_out"] == 1
    assert respondents.items["charge"].options == ("support", "oppose")


def test_ages_above_the_bound_count_as_missing(user_survey):
    rows = pl.DataFrame({"gender": [1, 2], "years": [111, 110], "w": [1, 1], "view": [1, 1]})
    frame = harmonise_survey(rows, load_codebook(user_survey / "town.yaml")).frame
    assert frame["age"].to_list() == [None, 110]
    assert frame["age_group"].to_list() == [None, "70+"]


def test_bands_first_mapping_and_otherwise(edited):
    frame = edited(
        "  sex: {column: gender, recode: {1: male, 2: female}}\n",
        "  income_group: {column: years, bands: {under_30k: [0, 30], over_100k: [31, 99]}}\n"
        "  race_ethnicity:\n"
        "    - {column: view, recode: {1: hispanic}, otherwise: missing}\n"
        "    - {column: gender, recode: {1: white}, otherwise: other}\n"
        "  state: {column: gender, recode: {1: NY, 2: TX}}\n",
    ).frame
    assert frame["income_group"].to_list() == ["under_30k", "over_100k", "over_100k"]
    assert frame["race_ethnicity"].to_list() == ["hispanic", "other", "other"]
    assert frame["region"].to_list() == ["northeast", "south", "south"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "column: gender",
            "column: sexx",
            r"town\.yaml, line 8: the survey file has no column 'sexx'\. Columns: gender",
        ),
        ("2: female", "2: woman", r"line 8: attribute sex has no level 'woman'\. Allowed: male, female"),
        ("  sex:", "  gender:", r"line 8: unknown attribute 'gender'\. Allowed: sex, age_group"),
        (
            ", 2: female",
            "",
            r"line 8: column 'gender' holds 1 values that the codebook does not explain .*found \[2\.0\]",
        ),
        ("    missing: [9]\n", "", r"line 10: column 'view' holds 1 values .*found \[9\.0\].*otherwise: missing"),
        ("wave: 2024", "wave: {column: year}", r"line 4: the survey file has no column 'year'"),
        ("wave: 2024", "wave: 20240", r"line 4: wave.*less than or equal to 2100.*found 20240"),
        ("design_weight: w", "design_weight: gender_w", r"line 5: the survey file has no column 'gender_w'"),
        ("title:", "titel:", r"line 2: titel: Extra inputs are not permitted.*found 'Town survey'"),
        ("recode: {1: male, 2: female}", "", r"line 8: attributes\.sex.*either recode or bands, and not both"),
        ("survey: town", "survey: village", r"line 1: found survey 'village' in a file named town\.yaml"),
        ("wave: 2024\n", "wave: 2024\nwave: 2023\n", r"line 5: entry 'wave' is given twice, first on line 4"),
        ("options: {1: support, 2: oppose}", "options: {1: yes, 2: no}", r"line 13: items\.charge\.options"),
        ("attributes:\n", "attributes: [\n", r"town\.yaml, line \d+: the codebook is not valid YAML"),
    ],
)
def test_wrong_codebooks_are_refused_with_file_and_line(edited, old, new, message):
    with pytest.raises(CodebookError, match=f"(?s){message}"):
        edited(old, new)


def test_empty_codebook_is_refused(tmp_path):
    (tmp_path / "town.yaml").write_text("")
    with pytest.raises(CodebookError, match="a codebook is a mapping of entries, found NoneType"):
        load_codebook(tmp_path / "town.yaml")


@pytest.mark.parametrize("weight", [0.0, -1.0, None])
def test_design_weights_must_be_positive(user_survey, weight):
    rows = pl.DataFrame({"gender": [1, 2], "years": [30, 40], "w": [1.0, weight], "view": [1, 1]})
    with pytest.raises(CodebookError, match=r"line 5: column 'w' is missing, zero or negative in 1 of the rows"):
        harmonise_survey(rows, load_codebook(user_survey / "town.yaml"))


def test_text_where_numbers_are_needed_is_refused(user_survey):
    rows = pl.DataFrame({"gender": [1], "years": ["old"], "w": [1.0], "view": [1]})
    with pytest.raises(CodebookError, match=r"line 6: column 'years' must hold numbers, found text such as \['old'\]"):
        harmonise_survey(rows, load_codebook(user_survey / "town.yaml"))


def test_year_of_the_interview_must_be_known(edited, user_survey):
    (user_survey / "town.csv").write_text("gender,years,w,view,year\n1,25,1,1,2020\n2,30,1,1,\n")
    with pytest.raises(CodebookError, match=r"line 4: column 'year' has no year in 1 rows"):
        edited("wave: 2024", "wave: {column: year}")


def test_two_surveys_must_word_an_item_alike(user_survey, tmp_path):
    text = (user_survey / "town.yaml").read_text()
    (user_survey / "city.yaml").write_text(
        text.replace("survey: town", "survey: city").replace("Should the", "May the")
    )
    with pytest.raises(CodebookError, match=r"town\.yaml, line 10: item 'charge' is worded .*but city words it"):
        load_respondents(DataCatalogue(user_survey, None, tmp_path), ["city", "town"])


def test_tables_without_a_codebook_are_no_surveys(tmp_path):
    with pytest.raises(CatalogueError, match=r"'margins_us_2016' cannot be loaded as a survey.*Surveys: cces_2016"):
        load_respondents(DataCatalogue(None, None, tmp_path), ["margins_us_2016"])
