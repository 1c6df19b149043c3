"""Quality of teachers' answers beyond their contract: collapse, leakage, language, contradictions between the passes.

Flags are taken row by row, measures per scenario, question and model, and rules with two limits from
`trace_quality.yaml` say which measures warn and which block. Legend: G repeat groups, S shuffles.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

RULES_PATH = Path(__file__).with_name("trace_quality.yaml")
GROUP = ("scenario_id", "question_id", "model")
CONTRADICTION = 0.75
"""Distance on the scale from −1 to 1 from which a private stance and the option probabilities contradict each other."""
UNLIKELY = 0.1
"""Probability below which an option that the reaction names as the only one contradicts the classification."""
NUM_SHUFFLES = 200
FEWEST_REDRAWN = 20
"""Redrawn moments from which people can be told apart from redraws at all."""
SHUFFLE_QUANTILE = 0.95
ALLOWED = {
    "name",
    "measure",
    "warn_above",
    "warn_below",
    "block_above",
    "block_below",
    "fewest",
    "except_teachers",
    "why",
}


class QualityRuleError(ValueError):
    """A rule cannot be used; the message names it."""


@dataclass(frozen=True)
class QualityRule:
    """One measure and its limits; None where there is none."""

    name: str
    measure: str
    why: str
    fewest: int = 1
    warn_above: float | None = None
    warn_below: float | None = None
    block_above: float | None = None
    block_below: float | None = None
    except_teachers: tuple[str, ...] = ()

    @property
    def warns(self) -> bool:
        """Whether it has a limit for warnings."""
        return self.warn_above is not None or self.warn_below is not None

    @property
    def blocks(self) -> bool:
        """Whether it has a limit beyond which nothing downstream is made."""
        return self.block_above is not None or self.block_below is not None


@dataclass(frozen=True)
class QualityFinding:
    """A rule that a group breaks; `limit` is the one that it is beyond."""

    rule: str
    scenario_id: str
    question_id: str
    model: str
    value: float
    limit: float
    is_blocking: bool
    why: str

    def __str__(self) -> str:
        """One line for logs and metadata."""
        where = f"{self.scenario_id}/{self.question_id}, {self.model}"
        return f"{self.rule}: {self.value:.3f} beyond {self.limit:g} in {where} ({self.why})"


@cache
def load_rules(path: Path = RULES_PATH) -> tuple[QualityRule, ...]:
    """The rules of the file.

    Raises:
        QualityRuleError: a rule has an unknown entry, no limit, or a measure that is not taken.
    """
    rules = []
    for entry in _content(path)["rules"]:
        unknown = sorted(set(entry) - ALLOWED)
        has_limit = any(name.startswith(("warn_", "block_")) for name in entry)
        if unknown or not has_limit or entry.get("measure") not in MEASURES:
            raise QualityRuleError(
                f"{path}: rule {entry.get('name')!r} has unknown entries {unknown}, no limit, or an unknown measure "
                f"{entry.get('measure')!r}. Measures: {', '.join(MEASURES)}."
            )
        rules.append(QualityRule(**{**entry, "except_teachers": tuple(entry.get("except_teachers", ()))}))
    return tuple(rules)


def judge(measures: pl.DataFrame, rules: tuple[QualityRule, ...] | None = None) -> list[QualityFinding]:
    """Every rule that a group breaks, blocking ones first.

    Args:
        measures: from `measure_quality`.
        rules: those of the file when left out.
    """
    found = []
    for rule in load_rules() if rules is None else rules:
        for row in measures.iter_rows(named=True):
            value = row[rule.measure]
            if value is None or row["num_answers"] < rule.fewest or row["teacher"] in rule.except_teachers:
                continue
            for limit, is_above, is_blocking in (
                (rule.block_above, True, True),
                (rule.block_below, False, True),
                (rule.warn_above, True, False),
                (rule.warn_below, False, False),
            ):
                if limit is not None and (value > limit if is_above else value < limit):
                    scenario_id, question_id, model = (row[name] for name in GROUP)
                    found.append(
                        QualityFinding(rule.name, scenario_id, question_id, model, value, limit, is_blocking, rule.why)
                    )
                    break
    return sorted(found, key=lambda finding: not finding.is_blocking)


def measure_quality(traces: pl.DataFrame, questions: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per scenario, question and model with every measure; null where it cannot be taken.

    Shares of contradictions, leaks and languages are shares of the answers that have the texts or numbers in question.

    Args:
        traces: rows of `reasoning_traces`.
        questions: columns scenario_id, question_id, options and option_scores; without them, stances are not compared
            with probabilities and reactions not with options.
    """
    flagged = flag_answers(traces, questions)
    is_answer = ~pl.col("is_refusal") & (pl.col("validation_status") != "failed") & pl.col("option").is_not_null()
    first = is_answer & (pl.col("draw") == 0)
    has_human = first & pl.col("human_option").is_not_null()
    redrawn = flagged.filter(is_answer & (pl.col("kind") == "rollout")).select(*GROUP, "repeat_group", "option")
    informed = [(*key, _information_excess(answers)) for key, answers in redrawn.group_by(*GROUP, maintain_order=True)]
    schema = {**dict.fromkeys(GROUP, pl.String), "person_information_excess": pl.Float64}
    information = pl.DataFrame(informed, schema=schema, orient="row")
    measures = flagged.group_by(*GROUP, maintain_order=True).agg(
        pl.col("teacher").first(),
        pl.len().cast(pl.Int64).alias("num_answers"),
        pl.col("is_refusal").mean().alias("refusal_share"),
        ((pl.col("validation_status") == "failed") & ~pl.col("is_refusal")).mean().alias("failed_share"),
        _modal_share(pl.col("option").filter(first)).alias("modal_share"),
        (
            _modal_share(pl.col("option").filter(has_human)) - _modal_share(pl.col("human_option").filter(has_human))
        ).alias("modal_share_excess"),
        pl.col("is_repeated_text").mean().alias("repeated_text_share"),
        pl.col("leaks").mean().alias("leak_share"),
        pl.col("is_out_of_role").mean().alias("out_of_role_share"),
        pl.col("is_foreign").mean().alias("foreign_share"),
        pl.col("contradicts_stance").mean().alias("stance_contradiction_share"),
        pl.col("contradicts_reaction").mean().alias("pass_contradiction_share"),
        pl.col("contradicts_sharing").mean().alias("sharing_contradiction_share"),
    )
    return measures.join(information, on=GROUP, how="left", maintain_order="left")


MEASURES = (
    "refusal_share",
    "failed_share",
    "modal_share",
    "modal_share_excess",
    "person_information_excess",
    "repeated_text_share",
    "leak_share",
    "out_of_role_share",
    "foreign_share",
    "stance_contradiction_share",
    "pass_contradiction_share",
    "sharing_contradiction_share",
)


def flag_answers(traces: pl.DataFrame, questions: pl.DataFrame | None = None) -> pl.DataFrame:
    """The traces with what is suspicious about each answer; null where there is nothing to look at.

    Args:
        traces: rows of `reasoning_traces`.
        questions: see `measure_quality`.
    """
    patterns = _content(RULES_PATH)["patterns"]
    spoken = pl.concat_str("reaction", "statement", separator=" ", ignore_nulls=True).str.to_lowercase()
    written = pl.concat_str("reaction", "statement", "rationale", separator=" ", ignore_nulls=True).str.to_lowercase()
    is_valid = pl.col("validation_status") != "failed"
    has_text = is_valid & pl.col("reaction").is_not_null()
    says = pl.col("reaction").str.extract(r"(?s)Says:\s*(.*?)\s*$", 1)
    is_silent = says.str.to_lowercase().str.strip_chars(" .!\"'").is_in(["nothing", ""])
    is_empty = pl.col("statement").str.strip_chars() == ""
    rows = traces.with_columns(
        pl.when(has_text).then(spoken.str.contains("|".join(patterns["leak"]))).alias("leaks"),
        pl.when(has_text).then(written.str.contains("|".join(patterns["out_of_role"]))).alias("is_out_of_role"),
        pl.when(has_text).then(_is_foreign(spoken)).alias("is_foreign"),
        pl.when(has_text).then(pl.col("agent_id").n_unique().over(*GROUP, "reaction") > 1).alias("is_repeated_text"),
        pl.when(is_valid & pl.col("will_share").is_not_null())
        .then((pl.col("will_share") & is_empty) | (has_text & pl.col("will_share") & is_silent.fill_null(False)))
        .alias("contradicts_sharing"),
    )
    if questions is None:
        none = pl.lit(None, pl.Boolean)
        return rows.with_columns(none.alias("contradicts_stance"), none.alias("contradicts_reaction"))
    known = questions.select("scenario_id", "question_id", "options", "option_scores")
    rows = rows.join(known, on=["scenario_id", "question_id"], how="left", maintain_order="left")
    mean_score = (pl.col("option_probabilities") * pl.col("option_scores")).list.sum()
    can_compare = is_valid & (pl.col("option_probabilities").list.len() == pl.col("option_scores").list.len())
    thinks = pl.col("reaction").str.extract(r"(?s)Thinks:\s*(.*?)(?:Says:|$)", 1).str.to_lowercase()
    named = pl.struct(
        thinks.alias("thinks"), pl.col("options"), pl.col("option_probabilities").alias("probabilities")
    ).map_elements(_names_an_unlikely_option, return_dtype=pl.Boolean)
    return rows.with_columns(
        pl.when(can_compare)
        .then((pl.col("private_stance") - mean_score).abs() > CONTRADICTION)
        .alias("contradicts_stance"),
        pl.when(can_compare & has_text).then(named).alias("contradicts_reaction"),
    ).drop("options", "option_scores")


def _names_an_unlikely_option(answer: Mapping[str, Any]) -> bool | None:
    """Whether the one option that the thoughts name is one that the classification all but rules out."""
    if answer["thinks"] is None or answer["options"] is None or answer["probabilities"] is None:
        return None
    words = f" {' '.join(answer['thinks'].replace('_', ' ').split())} "
    for mark in ".,;:!?\"'":
        words = words.replace(mark, " ")
    words = f" {' '.join(words.split())} "
    labels = [" ".join(option.lower().replace("_", " ").split()) for option in answer["options"]]
    found = [index for index, label in enumerate(labels) if f" {label} " in words]
    longest = [
        index
        for index in found
        if not any(labels[index] != labels[other] and labels[index] in labels[other] for other in found)
    ]
    if len(longest) != 1:
        return None
    return answer["probabilities"][longest[0]] < UNLIKELY


def _modal_share(options: pl.Expr) -> pl.Expr:
    return options.value_counts().struct.field("count").max() / options.len()


def _information_excess(answers: pl.DataFrame) -> float | None:
    """Bits that knowing the person tells about the answer, beyond what shuffled answers would; None with few redraws.

    Only groups of two or more draws count. The plug-in estimate is biased upwards, so it is held against the 95 %
    quantile of the same estimate with answers shuffled between people: above zero, people are told apart.

    Source: Miller (1955), bias of information estimates; Good (2005), permutation tests.
    """
    frame = answers.filter(pl.len().over("repeat_group") > 1)
    if frame["repeat_group"].n_unique() < FEWEST_REDRAWN:
        return None
    group = frame["repeat_group"].rank("dense").to_numpy().astype(np.int64) - 1
    option = frame["option"].rank("dense").to_numpy().astype(np.int64) - 1
    observed = _mutual_information(group, option)
    generator = np.random.default_rng(0)
    shuffled_S = [_mutual_information(group, generator.permutation(option)) for _ in range(NUM_SHUFFLES)]
    return float(observed - np.quantile(shuffled_S, SHUFFLE_QUANTILE))


def _mutual_information(group: np.ndarray, option: np.ndarray) -> float:
    counts_GO = np.zeros((group.max() + 1, option.max() + 1))
    np.add.at(counts_GO, (group, option), 1.0)
    joint_GO = counts_GO / counts_GO.sum()
    expected_GO = joint_GO.sum(axis=1, keepdims=True) * joint_GO.sum(axis=0, keepdims=True)
    is_met = joint_GO > 0
    return float((joint_GO[is_met] * np.log2(joint_GO[is_met] / expected_GO[is_met])).sum())


def _is_foreign(text: pl.Expr) -> pl.Expr:
    rule = _content(RULES_PATH)["english"]
    words = text.str.extract_all(r"[\p{L}']+")
    known = words.list.eval(pl.element().is_in(rule["function_words"].split()).cast(pl.Float64)).list.mean()
    letters = text.str.count_matches(r"\p{L}")
    other = (letters - text.str.count_matches(r"\p{Latin}")) / letters
    is_long = words.list.len() >= rule["fewest_words"]
    return (
        pl.when(is_long)
        .then((known < rule["least_share"]) | (other > rule["most_other_letters"]))
        .otherwise((letters > 0) & (other > rule["most_other_letters"]))
    )


@cache
def _content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))
