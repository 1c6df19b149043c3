"""Calibration of the real seed survey, end to end."""

import numpy as np
import polars as pl
import pytest

from assets.population.calibration import calibrate_respondents
from assets.population.errors import CalibrationError, MissingMarginAttribute
from assets.population.laying import compare_with_margins
from assets.population.population_file import PopulationFile
from validation.contracts import CONTRACTS


def test_calibrated_weights_meet_every_published_total(embedded):
    frame = CONTRACTS["calibrated_respondents"].validate(embedded.calibration.frame)
    seed = embedded.respondents.frame.filter(pl.col("survey") == "cces_2016")
    weight = frame["calibrated_weight"].to_numpy()
    compared = compare_with_margins(seed, embedded.margins, weight)
    assert (compared["difference"].abs() / compared["target_share"]).max() < 1e-6
    assert weight.sum() == pytest.approx(228_443_347, rel=1e-6)


def test_diagnostics_describe_the_weights(embedded):
    found = embedded.calibration.diagnostics
    weight = embedded.calibration.frame["calibrated_weight"].to_numpy()
    assert found.design_effect_before == pytest.approx(1.0)
    assert found.design_effect_after == pytest.approx(1 + np.var(weight) / np.mean(weight) ** 2)
    assert found.effective_sample_size == pytest.approx(64_600 / found.design_effect_after)
    assert found.max_margin_error_after <= 1e-6 < found.max_margin_error_before
    assert (found.num_margins, found.num_levels) == (8, 41)
    assert found.as_dict()["weight_quantiles"]["q0"] > 0


def test_demographic_margins_alone_do_not_fix_politics(embedded):
    demographic = embedded.margins.filter(pl.col("margin") != "past_vote")
    weight = calibrate_respondents(embedded.respondents.frame, demographic).frame["calibrated_weight"].to_numpy()
    seed = embedded.respondents.frame.filter(pl.col("survey") == "cces_2016")
    votes = np.array([weight[(seed["past_vote"] == v).to_numpy()].sum() for v in ("trump", "other_candidate")])
    assert votes[0] / votes.sum() < 0.45


def test_unknown_seed_survey_is_refused(embedded):
    with pytest.raises(CalibrationError, match=r"seed survey 'anes'\. Surveys loaded: cces_2016, gss_abortion"):
        calibrate_respondents(embedded.respondents.frame, embedded.margins, PopulationFile(seed_survey="anes"))


def test_seed_survey_with_open_margin_attributes_is_refused(embedded):
    with pytest.raises(MissingMarginAttribute, match=r"Nobody has region, past_vote"):
        calibrate_respondents(embedded.respondents.frame, embedded.margins, PopulationFile(seed_survey="gss_abortion"))


def test_margins_of_another_area_are_refused(embedded):
    elsewhere = embedded.margins.with_columns(pl.lit("FR").alias("geography"))
    with pytest.raises(CalibrationError, match=r"No margin has the geography US or a state .*found .'FR'"):
        calibrate_respondents(embedded.respondents.frame, elsewhere)
