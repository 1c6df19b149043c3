"""The embedded surveys and margins, loaded once for the tests of every room."""

from types import SimpleNamespace

import pytest

from assets.population.calibration import calibrate_respondents
from assets.population.margins import load_margins
from assets.population.surveys import load_respondents
from assets.sources.catalogue import DataCatalogue


@pytest.fixture(scope="session")
def embedded(tmp_path_factory):
    """Respondents, margins and calibration of the default that comes with the `demo` extra."""
    catalogue = DataCatalogue(user_dir=None, mirror=None, cache_dir=tmp_path_factory.mktemp("cache"))
    respondents = load_respondents(catalogue)
    margins = load_margins(catalogue)
    calibration = calibrate_respondents(respondents.frame, margins.frame)
    return SimpleNamespace(catalogue=catalogue, respondents=respondents, margins=margins.frame, calibration=calibration)


@pytest.fixture
def user_survey(tmp_path):
    """Writes a small survey of the user's own with its codebook, and returns the folder."""
    (tmp_path / "town.csv").write_text("gender,years,w,view\n1,25,0.5,1\n2,70,1.5,2\n2,41,2,9\n1,17,1,1\n")
    (tmp_path / "town.yaml").write_text(
        "survey: town\n"
        "title: Town survey\n"
        "file: town.csv\n"
        "wave: 2024\n"
        "design_weight: w\n"
        "age: years\n"
        "attributes:\n"
        "  sex: {column: gender, recode: {1: male, 2: female}}\n"
        "items:\n"
        "  charge:\n"
        "    column: view\n"
        "    question: Should the town charge for driving into the centre?\n"
        "    options: {1: support, 2: oppose}\n"
        "    missing: [9]\n"
    )
    return tmp_path
