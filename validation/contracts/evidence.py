"""Contracts of the evidence room: every figure beside its noise floor and its baselines."""

import polars as pl

from validation.contracts.table import FRACTION, NOT_NEGATIVE, SIGNED_UNIT, TableContract, column, one_of, ordered


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

RECORDED_CALIBRATION = TableContract(
    name="recorded_calibration",
    group="evidence",
    row="recorded question × reference × metric × model",
    columns={
        "scenario_id": column(pl.String, "set of questions, as in recorded_questions"),
        "question_id": column(pl.String, "question, or all for the mean over questions with equal wording"),
        "reference": column(
            pl.String, "survey for everybody whom it asked, weighted; else the recorded model compared with"
        ),
        "metric": column(pl.String, "distance of weighted shares", one_of(("tvd", "w1_ordinal", "dispersion_ratio"))),
        "model": column(pl.String, "recorded model, student or baseline"),
        "role": column(pl.String, "what the model is", one_of(("teacher", "student", "baseline"))),
        "value": column(pl.Float64, "value of the metric", nullable=True),
        "lower": column(pl.Float64, "lower end of the 95 % interval", nullable=True),
        "upper": column(pl.Float64, "upper end of the 95 % interval", nullable=True),
        "noise_floor": column(pl.Float64, "what a resample of the reference scores against it", nullable=True),
        "is_higher_better": column(pl.Boolean, "direction of the metric; null where one is best", nullable=True),
        "num_observations": column(pl.Int64, "people behind the reference; questions behind a mean", NOT_NEGATIVE),
        "note": column(pl.String, "why a figure is to be read with care", nullable=True),
    },
    key=("scenario_id", "question_id", "reference", "metric", "model"),
    rules=(ordered("lower", "value", "upper"),),
    may_be_empty=True,
)

DYNAMIC_FORECASTS = TableContract(
    name="dynamic_forecasts",
    group="evidence",
    row="case × item × segment × time × option × model",
    columns={
        "case_id": column(pl.String, "what is forecast"),
        "item": column(pl.String, "survey item or quantity"),
        "segment": column(pl.String, "all, or attribute=level"),
        "step": column(pl.Int64, "timesteps since the case's first time", NOT_NEGATIVE),
        "moment": column(pl.String, "year or date of the step"),
        "option": column(pl.String, "option"),
        "model": column(pl.String, "model, or observed for what was measured"),
        "share": column(pl.Float64, "share of the option", FRACTION),
        "is_held_out": column(pl.Boolean, "whether the time lies after the part that models may be fitted on"),
        "effective_size": column(
            pl.Float64, "effective sample size of the measurement; null for counts of everybody", nullable=True
        ),
    },
    key=("case_id", "item", "segment", "step", "option", "model"),
)

DYNAMIC_CALIBRATION = TableContract(
    name="dynamic_calibration",
    group="evidence",
    row="case × metric × slice × model",
    columns={
        "case_id": column(pl.String, "what is forecast"),
        **_score_columns("what was measured later"),
        "fitted_until": column(pl.String, "end of the part that models may be fitted on"),
    },
    key=("case_id", "metric", "slice", "model"),
    rules=(ordered("lower", "value", "upper"),),
)

LEADERBOARD = TableContract(
    name="leaderboard",
    group="evidence",
    row="run × case × metric × model",
    columns={
        "recorded_run": column(pl.String, "run that made the figure; rows of earlier runs are kept"),
        "recorded_at": column(pl.Datetime("us", "UTC"), "when the figure was recorded"),
        "recipe": column(pl.String, "sizes of that run"),
        "teacher": column(pl.String, "teacher of the student of that run"),
        "model_version": column(pl.Int64, "registered version of that run's student", NOT_NEGATIVE),
        "case_id": column(pl.String, "case of dynamic_calibration, or table / slice of the other evidence"),
        "metric": column(pl.String, "metric"),
        "model": column(pl.String, "student, mechanism or baseline"),
        "value": column(pl.Float64, "value of the metric"),
        "lower": column(pl.Float64, "lower end of the 95 % interval", nullable=True),
        "upper": column(pl.Float64, "upper end of the 95 % interval", nullable=True),
        "noise_floor": column(pl.Float64, "what the reference scores against itself", nullable=True),
        "is_higher_better": column(pl.Boolean, "direction of the metric", nullable=True),
    },
    key=("recorded_run", "case_id", "metric", "model"),
)

RECTIFIED_SHARES = TableContract(
    name="rectified_shares",
    group="evidence",
    row="model × item × option × method",
    columns={
        "model": column(pl.String, "whose shares are corrected: student, or the recorded model"),
        "item": column(pl.String, "survey item"),
        "option": column(pl.String, "option"),
        "method": column(
            pl.String,
            "raw, or how a small survey corrects it",
            one_of(("raw", "survey_only", "post_stratified", "prediction_powered")),
        ),
        "value": column(pl.Float64, "share by the first small survey; raw needs none"),
        "lower": column(pl.Float64, "lower end of its 95 % interval", nullable=True),
        "upper": column(pl.Float64, "upper end of its 95 % interval", nullable=True),
        "reference": column(pl.Float64, "weighted share among all people who answered", FRACTION),
        "coverage": column(
            pl.Float64, "share of repeated small surveys whose interval holds the reference", FRACTION, nullable=True
        ),
        "mean_width": column(pl.Float64, "mean width of those intervals", NOT_NEGATIVE, nullable=True),
        "mean_error": column(pl.Float64, "mean absolute error over those surveys", NOT_NEGATIVE),
        "noise_floor": column(pl.Float64, "standard error of the reference itself", NOT_NEGATIVE),
        "survey_size": column(pl.Int64, "people in each small survey", NOT_NEGATIVE),
        "power": column(pl.Float64, "λ, how much the model is listened to", FRACTION, nullable=True),
        "held_out": column(pl.String, "what was held out from fitting λ"),
        "num_people": column(pl.Int64, "people behind the reference", NOT_NEGATIVE),
        "note": column(pl.String, "what to know of the figure", nullable=True),
    },
    key=("model", "item", "option", "method"),
    rules=(ordered("lower", "value", "upper"),),
    may_be_empty=True,
)

BEHAVIOUR_SCORES = TableContract(
    name="behaviour_scores",
    group="evidence",
    row="behaviour benchmark × model",
    columns={
        "scenario_id": column(pl.String, "benchmark scenario"),
        "model": column(pl.String, "student, student without its graph, or a naive answer"),
        "option": column(pl.String, "option that stands for the published behaviour"),
        "quantity": column(
            pl.String, "final share, or its change against the scenario without events", one_of(("share", "change"))
        ),
        "value": column(pl.Float64, "ours", SIGNED_UNIT),
        "lower": column(pl.Float64, "lower end of the 95 % interval over agents", SIGNED_UNIT),
        "upper": column(pl.Float64, "upper end of the 95 % interval over agents", SIGNED_UNIT),
        "without_events": column(pl.Float64, "share without events; null for naive answers", FRACTION, nullable=True),
        "target_low": column(pl.Float64, "lower end of the range declared beforehand", SIGNED_UNIT),
        "target_high": column(pl.Float64, "upper end of the range declared beforehand", SIGNED_UNIT),
        "miss": column(pl.Float64, "distance to the range; 0 within", NOT_NEGATIVE),
        "verdict": column(pl.String, "where ours lies", one_of(("within", "below", "above"))),
        "is_approximate": column(pl.Boolean, "whether the range is loose because sources differ or stand for a proxy"),
        "is_leakage_risk": column(pl.Boolean, "whether the student's teacher can have read of the outcome"),
        "num_agents": column(pl.Int64, "agents that were asked", NOT_NEGATIVE),
        "published": column(pl.Int64, "year of the publication"),
        "source": column(pl.String, "publication of the outcome"),
        "mapping": column(pl.String, "how the simulated quantity stands for the published one"),
    },
    key=("scenario_id", "model"),
    rules=(ordered("lower", "value", "upper"), ordered("target_low", "target_high", "target_high")),
    may_be_empty=True,
)

DATA_QUALITY = TableContract(
    name="data_quality",
    group="evidence",
    row="run × suite × expectation × column",
    columns={
        "recorded_run": column(pl.String, "run that checked; results of earlier runs are kept"),
        "recorded_at": column(pl.Datetime("us", "UTC"), "when it was checked"),
        "table_name": column(pl.String, "table that was checked"),
        "suite": column(pl.String, "suite of Great Expectations"),
        "position": column(pl.Int64, "place of the expectation in its suite", NOT_NEGATIVE),
        "expectation": column(pl.String, "what was expected, by the name Great Expectations gives it"),
        "column": column(pl.String, "column, or columns, that it is about"),
        "has_passed": column(pl.Boolean, "whether the rows meet it"),
        "observed": column(pl.String, "what was found, in short"),
        "num_rows": column(pl.Int64, "rows that were looked at; large tables are thinned evenly", NOT_NEGATIVE),
    },
    key=("recorded_run", "suite", "position"),
)

CONTRACTS = (
    DATA_QUALITY,
    BEHAVIOUR_SCORES,
    RECORDED_AGREEMENT,
    RECORDED_CALIBRATION,
    RECTIFIED_SHARES,
    DYNAMIC_FORECASTS,
    DYNAMIC_CALIBRATION,
    LEADERBOARD,
    TEACHER_AGREEMENT,
    SURVEY_CALIBRATION,
    BENCHMARK_SCORES,
)
