"""How the simulated population's answers at timestep 0 stand against the survey that asked the same question.

Rows of `survey_calibration` compare shares by segment with a survey wave, beside baselines and the survey's own
sampling error; rows of the metric `max_margin_error` compare weights and agents with the population margins.

Legend: N agents, O options, B resamples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from assets.evidence.demographic_model import predict_from_demographics
from assets.evidence.margin_errors import margin_error_rows
from assets.evidence.survey_shares import (
    MIN_RESPONDENTS,
    Wave,
    WeightedShares,
    choose_wave,
    resample_shares,
    respondents_of_item,
    sampling_error,
    weighted_shares,
)
from validation.contracts import CONTRACTS
from validation.metrics import tvd, w1_ordinal
from validation.predicates import compile_predicate

SEGMENT_ATTRIBUTES = ("party", "age_group", "race_ethnicity", "education")
SCHEMA = CONTRACTS["survey_calibration"].polars_schema()
METRICS = {"tvd": tvd, "w1_ordinal": w1_ordinal}


@dataclass(frozen=True)
class Comparison:
    """A question with the respondents that answered it in the chosen wave, and everything to compare with them."""

    scenario_id: str
    question_id: str
    options: tuple[str, ...]
    is_ordinal: bool
    wave: Wave
    now: pl.DataFrame
    before: pl.DataFrame | None
    before_year: int | None
    agents: pl.DataFrame
    demographic_NO: np.ndarray | None
    simulated: dict[str, np.ndarray]

    @property
    def note(self) -> str:
        """Which survey the figures refer to, and what they are not evidence of."""
        source = f"{self.wave.survey} {self.wave.year}"
        if self.wave.is_donors:
            return f"{source}, calibrated weights; the embedded teacher's response models were fitted on this survey"
        return f"{source}, design weights; not the donors' survey, though response models may have seen it"


def survey_calibration(
    outcomes: pl.DataFrame,
    agents: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
    scenarios: pl.DataFrame,
    seed: int,
) -> pl.DataFrame:
    """Scores simulated shares at timestep 0 against survey shares, and weights and agents against margins.

    Slices are `<scenario>/<question>/<segment>` for shares and `margin=<margin>` for margins. Nothing is held out: the
    student's teacher may have been fitted on the same survey, and the note of each row says what is known. Intervals
    hold the survey's sampling error.

    Args:
        outcomes: the outcomes table.
        agents: the agents table.
        survey_respondents: the table of that name, with item_* columns.
        calibrated_respondents: the table of that name.
        population_margins: the table of that name.
        scenarios: the scenarios table.
        seed: fixes resamples and the half of respondents that the regression sees.

    Returns:
        The `survey_calibration` table.
    """
    rows: list[dict[str, Any]] = []
    asked = scenarios.filter((pl.col("kind") == "question") & pl.col("item").is_not_null())
    for question in asked.sort("scenario_id", "position").iter_rows(named=True):
        compared = _comparison(question, outcomes, agents, survey_respondents, calibrated_respondents, seed)
        if isinstance(compared, str):
            rows.append(_missing(f"{question['scenario_id']}/{question['name']}/all", compared, 0))
        else:
            rows.extend(_question_rows(compared, np.random.default_rng(seed)))
    rows.extend(margin_error_rows(agents, survey_respondents, calibrated_respondents, population_margins, seed))
    return CONTRACTS["survey_calibration"].validate(pl.DataFrame(rows, schema=SCHEMA))


def _comparison(
    question: dict[str, Any],
    outcomes: pl.DataFrame,
    agents: pl.DataFrame,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    seed: int,
) -> Comparison | str:
    """The comparison of one question, or why there is none."""
    if f"item_{question['item']}" not in survey_respondents.columns:
        return f"no loaded survey asks the item {question['item']}"
    answered = respondents_of_item(
        question["item"], survey_respondents, calibrated_respondents, question["population_where"]
    )
    answered = answered.filter(pl.col("answer").is_in(question["options"]))
    if answered.is_empty():
        return f"no respondent of the scenario's population chose an option of the item {question['item']}"
    waves = answered.group_by("survey", "wave").agg(
        pl.len().alias("num_respondents"), pl.col("is_donor").sum().alias("num_donors")
    )
    wave, previous = choose_wave(waves)
    of_survey = answered.filter(pl.col("survey") == wave.survey)
    now = of_survey.filter(pl.col("wave") == wave.year)
    asked_agents = agents.filter(compile_predicate(question["population_where"])).sort("agent_id")
    simulated = _simulated_shares(outcomes, question)
    if "all" not in simulated:
        return "the scenario has no simulated outcome at timestep 0"
    return Comparison(
        scenario_id=question["scenario_id"],
        question_id=question["name"],
        options=tuple(question["options"]),
        is_ordinal=question["scale"] == "ordinal",
        wave=wave,
        now=now,
        before=of_survey.filter(pl.col("wave") == previous.year) if previous else None,
        before_year=previous.year if previous else None,
        agents=_with_donor_answers(asked_agents, now),
        demographic_NO=predict_from_demographics(now, asked_agents, question["options"], seed),
        simulated=simulated,
    )


def _question_rows(compared: Comparison, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    for segment, in_survey, is_agent_N in _segments(compared):
        place = f"{compared.scenario_id}/{compared.question_id}/{segment}"
        chosen = compared.now.filter(in_survey)
        reference = weighted_shares(chosen, compared.options)
        if reference is None or reference.num_respondents < MIN_RESPONDENTS:
            size = 0 if reference is None else reference.num_respondents
            yield _missing(place, f"suppressed: {size} respondents, {MIN_RESPONDENTS} are needed", size)
            continue
        resamples_BO = resample_shares(reference, generator)
        for model, share_O, note in _models(compared, segment, in_survey, is_agent_N):
            for metric, distance in METRICS.items():
                if metric == "w1_ordinal" and not compared.is_ordinal:
                    continue
                yield _share_row(place, model, metric, distance, share_O, reference, resamples_BO, note)


def _models(
    compared: Comparison, segment: str, in_survey: pl.Expr, is_agent_N: np.ndarray
) -> Iterator[tuple[str, np.ndarray | None, str]]:
    """Every model's shares in a segment with its note; None where a model has nothing to say."""
    yield "student", compared.simulated.get(segment), compared.note
    yield "uniform", np.full(len(compared.options), 1.0 / len(compared.options)), compared.note
    if compared.demographic_NO is not None and is_agent_N.any():
        note = f"{compared.note}; fitted on half of the respondents"
        yield "demographic_regression", compared.demographic_NO[is_agent_N].mean(axis=0), note
    if compared.wave.is_donors:
        members = compared.agents.filter(pl.Series(is_agent_N)).with_columns(pl.lit(1.0).alias("weight"))
        shares = weighted_shares(members, compared.options)
        yield "donor_answers", shares.share_O if shares else None, f"{compared.note}; the donors' own answers"
    if compared.before is not None:
        shares = weighted_shares(compared.before.filter(in_survey), compared.options)
        is_enough = shares is not None and shares.num_respondents >= MIN_RESPONDENTS
        share_O = shares.share_O if shares is not None and is_enough else None
        yield "persistence", share_O, f"{compared.note}; the wave of {compared.before_year}"


def _share_row(
    place: str,
    model: str,
    metric: str,
    distance: Any,
    share_O: np.ndarray | None,
    reference: WeightedShares,
    resamples_BO: np.ndarray,
    note: str,
) -> dict[str, Any]:
    row = _missing(place, note, reference.num_respondents, model, metric)
    row["noise_floor"] = sampling_error(distance(resamples_BO, reference.share_O))
    if share_O is None:
        return {**row, "note": f"{note}; no share of this model in the segment"}
    value = float(distance(share_O, reference.share_O))
    lower, upper = np.quantile(distance(resamples_BO, share_O), (0.025, 0.975))
    return {**row, "value": value, "lower": min(float(lower), value), "upper": max(float(upper), value)}


def _missing(
    place: str, note: str, num_observations: int, model: str = "student", metric: str = "tvd"
) -> dict[str, Any]:
    return {
        "metric": metric,
        "slice": place,
        "held_out": "nothing",
        "model": model,
        "value": None,
        "lower": None,
        "upper": None,
        "noise_floor": None,
        "is_higher_better": False,
        "num_observations": num_observations,
        "note": note,
    }


def _segments(compared: Comparison) -> Iterator[tuple[str, pl.Expr, np.ndarray]]:
    yield "all", pl.lit(True), np.ones(len(compared.agents), dtype=bool)
    for attribute in SEGMENT_ATTRIBUTES:
        if compared.now[attribute].null_count() == len(compared.now):
            continue
        for level in sorted(compared.agents[attribute].unique()):
            is_agent_N = (compared.agents[attribute] == level).to_numpy()
            yield f"{attribute}={level}", pl.col(attribute) == level, is_agent_N


def _simulated_shares(outcomes: pl.DataFrame, question: dict[str, Any]) -> dict[str, np.ndarray]:
    """Mean shares over replicates of the student at timestep 0, by segment, in the order of the options."""
    start = outcomes.filter(
        (pl.col("scenario_id") == question["scenario_id"])
        & (pl.col("question_id") == question["name"])
        & (pl.col("timestep") == 0)
        & (pl.col("engine") == "lsm")
    )
    means = start.group_by("segment", "option").agg(pl.col("share").sort_by("replicate").mean())
    found: dict[str, dict[str, float]] = {}
    for segment, option, share in means.iter_rows():
        found.setdefault(segment, {})[option] = share
    shares = {segment: np.array([by.get(o, 0.0) for o in question["options"]]) for segment, by in found.items()}
    return {segment: share_O / share_O.sum() for segment, share_O in shares.items()}


def _with_donor_answers(agents: pl.DataFrame, respondents: pl.DataFrame) -> pl.DataFrame:
    answers = respondents.select("respondent_id", "answer")
    return agents.join(answers, on="respondent_id", how="left", maintain_order="left")
