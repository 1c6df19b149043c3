"""How far weights and agents are from the population margins, margin by margin."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from validation.margin_levels import combinations_of_level

NATION = "US"
NUM_RESAMPLES = 200


def margin_error_rows(
    agents: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Rows of `survey_calibration` with the metric max_margin_error, for design weights, calibrated weights and agents.

    The error of a level is |share − published share|, in points of share, among people whose level is known; the
    metric is the largest of a margin. The noise floor of agents is what drawing as many agents at random would give.
    """
    donors = survey_respondents.join(calibrated_respondents.drop("design_weight"), on="respondent_id", how="inner")
    generator = np.random.default_rng(seed)
    national = population_margins.filter(pl.col("geography") == NATION)
    for margin in national["margin"].unique(maintain_order=True):
        targets = national.filter(pl.col("margin") == margin)
        weighted = (
            ("design_weights", donors, donors["design_weight"]),
            ("calibrated_weights", donors, donors["calibrated_weight"]),
            ("agents", agents, pl.Series("weight", np.ones(len(agents)))),
        )
        target_L = targets["share"].to_numpy()
        for name, people, weight in weighted:
            share_L, num_people = _shares(people, weight, margin.split("*"), targets["level"].to_list())
            floor = None
            if name == "agents" and num_people:
                drawn_BL = generator.multinomial(num_people, target_L / target_L.sum(), size=NUM_RESAMPLES) / num_people
                floor = float(np.abs(drawn_BL - target_L).max(axis=1).mean())
            yield {
                "metric": "max_margin_error",
                "slice": f"margin={margin}",
                "held_out": "nothing",
                "model": name,
                "value": float(np.abs(share_L - target_L).max()) if num_people else None,
                "lower": None,
                "upper": None,
                "noise_floor": floor,
                "is_higher_better": False,
                "num_observations": num_people,
                "note": None if num_people else "nobody's level is known",
            }


def _shares(people: pl.DataFrame, weight: pl.Series, names: list[str], levels: list[str]) -> tuple[np.ndarray, int]:
    """Weighted share of each level, and the people whose level is known."""
    level = people.select(pl.concat_str(names, separator="*", ignore_nulls=False)).to_series()
    known = pl.DataFrame({"level": level, "weight": weight}).drop_nulls()
    totals = dict(known.group_by("level").agg(pl.col("weight").sum()).iter_rows())
    total_L = np.array([sum(totals.get(part, 0.0) for part in combinations_of_level(name)) for name in levels])
    return total_L / max(known["weight"].sum(), 1e-300), len(known)
