"""The embedded teacher's estimates recover what made-up respondents were made with; stored ones follow from data."""

import numpy as np
import polars as pl
import pytest

from assets.traces.embedded_teacher.estimation import estimate_constants, person_scales, trait_stability
from assets.traces.embedded_teacher.held_out_fit import score_response_models
from validation.attributes import ATTRIBUTES


def make_respondents(num_respondents: int, loadings: dict[str, float], seed: int = 1) -> pl.DataFrame:
    """Attributes at random; party moves every item, and one trait of the person moves them by their loadings."""
    rng = np.random.default_rng(seed)
    columns = {attribute.name: rng.choice(attribute.levels, num_respondents) for attribute in ATTRIBUTES}
    trait = rng.normal(size=num_respondents)
    effect = np.where(columns["party"] == "democrat", 0.5, -0.5)
    answers = {
        f"item_{item}": np.where(
            rng.random(num_respondents) < 1 / (1 + np.exp(-2 * (effect + loading * trait))), "yes", "no"
        )
        for item, loading in loadings.items()
    }
    return pl.DataFrame(
        {
            "respondent_id": [f"made-{index}" for index in range(num_respondents)],
            "survey": "made",
            "wave": 2016,
            "design_weight": 1.0,
            **columns,
            **answers,
        }
    )


def test_spreads_of_people_are_recovered() -> None:
    made = {"a": 1.4, "b": -1.0, "c": 0.9, "d": 0.0}
    found = person_scales(make_respondents(1_000, made), list(made), {"yes": 1.0, "no": -1.0})
    for item, loading in made.items():
        assert found[item] == pytest.approx(abs(loading), abs=0.4), item


def test_a_stable_trait_is_told_from_noise() -> None:
    """Half of the trait's variance stays; the items' own noise, however large, does not count against it."""
    rng = np.random.default_rng(1)
    stable, now, later = rng.normal(size=(3, 20_000))
    first, second = stable + now, stable + later
    noise = rng.normal(size=(4, 20_000)) * 2
    pairs = pl.DataFrame(
        {"a": first + noise[0], "b": first + noise[1], "a_again": second + noise[2], "b_again": second + noise[3]}
    )
    assert trait_stability(pairs, ["a", "b"]) == pytest.approx(0.5, abs=0.05)


def test_held_out_gain_is_that_of_the_attribute_that_matters_and_none_without_one() -> None:
    respondents = make_respondents(4_000, {"tax": 0.0}).with_columns(
        item_coin=pl.Series(np.random.default_rng(2).choice(["heads", "tails"], 4_000))
    )
    scores = {row["item"]: row for row in score_response_models(respondents).iter_rows(named=True)}
    p = 1 / (1 + np.exp(-1.0))
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    share = p / 3 + (1 - p) * 2 / 3  # one third are Democrats
    marginal = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    tax, coin = scores["tax"], scores["coin"]
    assert tax["num_fitted"] + tax["num_held_out"] == 4_000
    assert tax["log_loss"] == pytest.approx(entropy, abs=0.03)
    assert tax["marginal_log_loss"] == pytest.approx(marginal, abs=0.03)
    assert tax["lower"] > 0
    assert coin["gain"] < 0.005, "attributes that say nothing gain nothing"


def test_constants_without_their_data_say_so_and_invent_nothing() -> None:
    estimates = estimate_constants(make_respondents(50, {"a": 0.0}), None)
    assert estimates
    assert all(each.estimated is None and each.num_respondents == 0 for each in estimates)


@pytest.mark.slow
@pytest.mark.data
def test_stored_constants_are_what_the_data_give(data_mirror) -> None:
    from assets.population.surveys import load_respondents
    from assets.sources.catalogue import DataCatalogue

    catalogue = DataCatalogue(user_dir=None, mirror=data_mirror, cache_dir=data_mirror)
    people = catalogue.resolve("gss_2016_2020_panel").load()["yearid"]
    for each in estimate_constants(load_respondents(catalogue).frame, people):
        tolerance = 0.41 if each.name == "person_scale" else 0.02
        assert each.estimated == pytest.approx(each.stored, abs=tolerance), (each.name, each.key)
