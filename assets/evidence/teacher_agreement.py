"""How far the student, and each baseline, agrees with the teacher on answers that were held out from fitting.

Every figure stands beside the teacher's own noise floor: the same metric between a redraw and the first draw. Intervals
come from resampling agents, with the same resamples for every model, so that models can be compared.

Legend: B resamples, C cells (question × timestep), R observations, A agents, O options.
"""

from typing import Any

import numpy as np
import polars as pl

from assets.evidence.agreement_cells import (
    CELL_KEYS,
    CellSums,
    Observations,
    metric_values,
    padded,
    resampled_agents,
    sum_cells,
)
from validation.attributes import ATTRIBUTE_BY_NAME
from validation.contracts import CONTRACTS

NUM_RESAMPLES = 200
IS_HIGHER_BETTER: dict[str, bool | None] = {
    "tvd": False,
    "jsd": False,
    "w1_ordinal": False,
    "log_loss": False,
    "ece": False,
    "tail_survival": True,
    "dispersion_ratio": None,
    "subgroup_gap": False,
    "treatment_effect_correlation": True,
    "treatment_effect_sign_agreement": True,
}
REASON_MISSING = {
    "w1_ordinal": "no ordinal question in the slice",
    "tail_survival": "the teacher holds no option with 1 to 5 % in the slice",
    "dispersion_ratio": "the teacher's answers do not vary between agents",
    "subgroup_gap": "fewer than two parties with 5 held-out agents in a cell",
    "treatment_effect_correlation": "no held-out pair of a scenario and its baseline, or effects that do not vary",
    "treatment_effect_sign_agreement": "no held-out pair of a scenario and its baseline",
}
SCHEMA = CONTRACTS["teacher_agreement"].polars_schema()
ROW_KEYS = ("scenario_id", "question_id", "agent_id", "timestep")


def teacher_agreement(
    held_out_predictions: pl.DataFrame,
    reasoning_traces: pl.DataFrame,
    agents: pl.DataFrame,
    scenarios: pl.DataFrame,
    seed: int,
) -> pl.DataFrame:
    """Scores every model's held-out predictions against the teacher, in several slices.

    Slices: all; held_out=agents and held_out=scenarios; scenario=<id>; late_timesteps (the second half of each
    scenario's held-out timesteps). TVD, JSD, W1, log loss and ECE average over answers; tail survival, dispersion,
    subgroup gap (by party) and treatment effects compare mean shares per question and timestep.

    Args:
        held_out_predictions: the table of that name; every model on the same answers.
        reasoning_traces: the teacher's answers with redraws.
        agents: the agents table, for parties.
        scenarios: the scenarios table, for options, scales and baselines.
        seed: fixes the resamples.

    Returns:
        The `teacher_agreement` table.

    Raises:
        ValueError: there is no prediction, or predictions name a question that no scenario asks.
    """
    if held_out_predictions.is_empty():
        raise ValueError("There is no held-out prediction. Held-out agents or scenarios are needed; train the student.")
    questions = _questions(scenarios)
    answers = _with_questions(held_out_predictions, reasoning_traces, questions)
    redraws = _redraws(reasoning_traces, answers, questions)
    cells = pl.concat([answers.select(CELL_KEYS), redraws.select(CELL_KEYS)]).unique().sort(CELL_KEYS)
    panel = pl.concat([answers["agent_id"], redraws["agent_id"]]).unique().sort()
    group_A = _parties(agents, panel)
    num_groups = len(ATTRIBUTE_BY_NAME["party"].levels)
    weight_BA = resampled_agents(len(panel), NUM_RESAMPLES, seed)
    num_options = int(questions["options"].list.len().max())  # pyright: ignore[reportArgumentType]

    def summed(rows: pl.DataFrame, weights: np.ndarray) -> CellSums:
        return sum_cells(_observations(rows, cells, panel, num_options), len(cells), weights, group_A, num_groups)

    sums_of = {
        str(model): summed(answers.filter(pl.col("model") == model), weight_BA)
        for model in sorted(answers["model"].unique())
    }
    floor = summed(redraws, weight_BA[:1])
    baseline_cell_C = _baseline_cells(cells, scenarios)
    rows: list[dict[str, Any]] = []
    for name, is_in_C in _slices(cells, answers).items():
        held_out = " and ".join(sorted(set(cells.filter(pl.Series(is_in_C))["split"])))
        floors = metric_values(floor, is_in_C, baseline_cell_C)
        for model, sums in sums_of.items():
            values = metric_values(sums, is_in_C, baseline_cell_C)
            num_rows = int(sums.num_rows_C[is_in_C].sum())
            rows.extend(
                _row(name, held_out, model, metric, values[metric], floors[metric], num_rows) for metric in values
            )
    return CONTRACTS["teacher_agreement"].validate(pl.DataFrame(rows, schema=SCHEMA))


def _row(
    slice_name: str, held_out: str, model: str, metric: str, value_B: np.ndarray, floor_B: np.ndarray, num_rows: int
) -> dict[str, Any]:
    value, floor = float(value_B[0]), float(floor_B[0])
    known_B = value_B[1:][np.isfinite(value_B[1:])]
    is_known = np.isfinite(value)
    lower, upper = np.quantile(known_B, (0.025, 0.975)) if is_known and len(known_B) else (None, None)
    notes = []
    if not is_known:
        notes.append(REASON_MISSING.get(metric, "no held-out answer in the slice"))
    if not np.isfinite(floor):
        notes.append("too few redraws of the teacher in the slice to measure the noise floor")
    return {
        "metric": metric,
        "slice": slice_name,
        "held_out": held_out,
        "model": model,
        "value": value if is_known else None,
        "lower": None if lower is None else min(float(lower), value),
        "upper": None if upper is None else max(float(upper), value),
        "noise_floor": floor if np.isfinite(floor) else None,
        "is_higher_better": IS_HIGHER_BETTER[metric],
        "num_observations": num_rows,
        "note": "; ".join(notes) or None,
    }


def _questions(scenarios: pl.DataFrame) -> pl.DataFrame:
    return scenarios.filter(pl.col("kind") == "question").select(
        "scenario_id",
        pl.col("name").alias("question_id"),
        "options",
        "option_scores",
        (pl.col("scale") == "ordinal").fill_null(False).alias("is_ordinal"),
    )


def _with_questions(predictions: pl.DataFrame, traces: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """Predictions with their question and the option that the teacher sampled first."""
    known = predictions.join(questions, on=["scenario_id", "question_id"], how="inner")
    if len(known) != len(predictions):
        lost = predictions.join(questions, on=["scenario_id", "question_id"], how="anti")
        raise ValueError(
            f"Predictions name question {lost['question_id'][0]} of scenario {lost['scenario_id'][0]}, which the "
            "scenarios table does not ask. The scenario changed after training; train the student again."
        )
    first = traces.filter(pl.col("draw") == 0).unique(ROW_KEYS, keep="first", maintain_order=True)
    sampled = known.join(first.select(*ROW_KEYS, "option"), on=list(ROW_KEYS), how="left", maintain_order="left")
    likeliest = pl.col("options").list.get(pl.col("teacher_probabilities").list.arg_max(), null_on_oob=True)
    return sampled.with_columns(pl.col("option").fill_null(likeliest))


def _redraws(traces: pl.DataFrame, answers: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """The teacher's redraws as predictions of its first draw, in the held-out scenarios and timesteps.

    Redraws of every agent of the panel count, held out or not: the teacher's noise does not depend on the split, and
    few held-out answers were drawn again.
    """
    valid = traces.filter(pl.col("option_probabilities").is_not_null() & pl.col("option").is_not_null())
    first = valid.filter(pl.col("draw") == 0).select(
        *ROW_KEYS, "model", "option", pl.col("option_probabilities").alias("teacher_probabilities")
    )
    again = valid.filter(pl.col("draw") > 0).select(*ROW_KEYS, "model", "option_probabilities")
    splits = answers.select("scenario_id", "question_id", "timestep", "split").unique()
    return (
        again.join(first, on=[*ROW_KEYS, "model"], how="inner")
        .drop("model")
        .join(splits, on=["scenario_id", "question_id", "timestep"], how="inner")
        .join(questions, on=["scenario_id", "question_id"], how="inner")
        .sort(*ROW_KEYS)
    )


def _observations(rows: pl.DataFrame, cells: pl.DataFrame, panel: pl.Series, num_options: int) -> Observations:
    indexed = rows.join(cells.with_row_index("cell"), on=list(CELL_KEYS), how="left", maintain_order="left")
    observed = [options.index(option) for options, option in rows.select("options", "option").iter_rows()]
    return Observations(
        cell_R=indexed["cell"].to_numpy().astype(np.int64),
        agent_R=np.searchsorted(panel.to_numpy(), rows["agent_id"].to_numpy()),
        predicted_RO=_normalised(padded(rows["option_probabilities"], num_options)),
        teacher_RO=_normalised(padded(rows["teacher_probabilities"], num_options)),
        observed_R=np.array(observed, dtype=np.int64),
        scores_RO=padded(rows["option_scores"], num_options),
        num_options_R=rows["options"].list.len().to_numpy().astype(np.int64),
        is_ordinal_R=rows["is_ordinal"].to_numpy(),
    )


def _normalised(shares_RO: np.ndarray) -> np.ndarray:
    shares = np.maximum(shares_RO, 0.0)
    return shares / shares.sum(axis=1, keepdims=True) if len(shares) else shares


def _parties(agents: pl.DataFrame, panel: pl.Series) -> np.ndarray:
    levels = ATTRIBUTE_BY_NAME["party"].levels
    found = pl.DataFrame({"agent_id": panel}).join(
        agents.select("agent_id", "party"), on="agent_id", how="left", maintain_order="left"
    )
    return np.array([levels.index(party) if party in levels else -1 for party in found["party"]])


def _baseline_cells(cells: pl.DataFrame, scenarios: pl.DataFrame) -> np.ndarray:
    """For each cell after timestep 0, a cell of the baseline scenario with the same question and timestep, else −1."""
    baseline_of = dict(scenarios.select("scenario_id", "baseline").unique().iter_rows())
    place = {(row[0], row[1], row[2]): index for index, row in enumerate(cells.iter_rows())}
    return np.array(
        [
            place.get((baseline_of.get(scenario_id), question_id, timestep), -1) if timestep > 0 else -1
            for scenario_id, question_id, timestep, _ in cells.iter_rows()
        ]
    )


def _slices(cells: pl.DataFrame, answers: pl.DataFrame) -> dict[str, np.ndarray]:
    """Cells of each slice that hold predictions."""
    late = cells.select(pl.col("timestep") > pl.col("timestep").max().over("scenario_id") / 2).to_series().to_numpy()
    found = {"all": np.ones(len(cells), dtype=bool), "late_timesteps": late}
    for column, prefix in (("split", "held_out"), ("scenario_id", "scenario")):
        for value in sorted(answers[column].unique()):
            found[f"{prefix}={value}"] = (cells[column] == value).to_numpy()
    return {name: is_in_C for name, is_in_C in found.items() if is_in_C.any()}
