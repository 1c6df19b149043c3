"""Contracts of the evidence room: every figure beside its noise floor and its baselines."""

import polars as pl

from validation.contracts.table import NOT_NEGATIVE, TableContract, column, one_of


def _score_columns(subject: str) -> dict:
    return {
        "metric": column(pl.String, "metric, as named in validation.metrics"),
        "slice": column(pl.String, "part of the data the figure describes"),
        "held_out": column(pl.String, "what was held out from fitting: agents, scenarios, wave, items or nothing"),
        "model": column(pl.String, f"what is compared with {subject}: the student or a baseline"),
        "value": column(pl.Float64, "value of the metric", nullable=True),
        "lower": column(pl.Float64, "lower end of the 95 % interval", nullable=True),
        "upper": column(pl.Float64, "upper end of the 95 % interval", nullable=True),
        "noise_floor": column(pl.Float64, "what the reference scores against itself", nullable=True),
        "is_higher_better": column(pl.Boolean, "direction of the metric", nullable=True),
        "num_observations": column(pl.Int64, "rows behind the figure", NOT_NEGATIVE),
        "note": column(pl.String, "why a figure is missing or to be read with care", nullable=True),
    }


TEACHER_AGREEMENT = TableContract(
    name="teacher_agreement",
    group="evidence",
    row="metric × slice × model",
    columns=_score_columns("the teacher"),
    key=("metric", "slice", "model"),
)

SURVEY_CALIBRATION = TableContract(
    name="survey_calibration",
    group="evidence",
    row="metric × slice × model",
    columns=_score_columns("the survey"),
    key=("metric", "slice", "model"),
)

BENCHMARK_SCORES = TableContract(
    name="benchmark_scores",
    group="evidence",
    row="published figure and ours",
    columns={
        "benchmark": column(pl.String, "what is compared"),
        "slice": column(pl.String, "part of the population or graph"),
        "value": column(pl.Float64, "ours", nullable=True),
        "target": column(pl.Float64, "published figure"),
        "tolerance": column(pl.Float64, "largest difference that counts as met, declared beforehand", NOT_NEGATIVE),
        "is_calibrated": column(pl.Boolean, "whether the figure was a raking margin, so that agreement is no evidence"),
        "verdict": column(pl.String, "whether the target is met", one_of(("met", "falls short"))),
        "source": column(pl.String, "publication of the target"),
    },
    key=("benchmark", "slice"),
)

RECORDED_AGREEMENT = TableContract(
    name="recorded_agreement",
    group="evidence",
    row="recorded question × metric × model",
    columns={
        "scenario_id": column(pl.String, "set of questions, as in recorded_questions"),
        "question_id": column(pl.String, "question, or all for the mean over questions with equal wording"),
        "metric": column(
            pl.String,
            "distance or agreement between the model's answers and the people's own",
            one_of(("tvd", "w1_ordinal", "dispersion_ratio", "tail_survival", "same_answer")),
        ),
        "model": column(pl.String, "model whose answers were recorded, or a baseline"),
        "role": column(
            pl.String, "whether the model is a recorded teacher or a baseline", one_of(("teacher", "baseline"))
        ),
        "value": column(pl.Float64, "value of the metric", nullable=True),
        "lower": column(pl.Float64, "lower end of the 95 % interval", nullable=True),
        "upper": column(pl.Float64, "upper end of the 95 % interval", nullable=True),
        "noise_floor": column(pl.Float64, "what as many resampled people score against themselves", nullable=True),
        "is_higher_better": column(pl.Boolean, "direction of the metric; null where one is best", nullable=True),
        "num_observations": column(pl.Int64, "people behind the figure; questions behind a mean", NOT_NEGATIVE),
        "note": column(pl.String, "why a figure is missing or to be read with care", nullable=True),
    },
    key=("scenario_id", "question_id", "metric", "model"),
    may_be_empty=True,
)

CONTRACTS = (TEACHER_AGREEMENT, RECORDED_AGREEMENT, SURVEY_CALIBRATION, BENCHMARK_SCORES)
