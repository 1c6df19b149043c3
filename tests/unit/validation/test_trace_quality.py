"""Every fault of teachers' answers is caught by the rule that is named for it, and sound answers break none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from validation.contracts import CONTRACTS
from validation.expectations import suites_of
from validation.trace_quality import (
    QualityRule,
    QualityRuleError,
    flag_answers,
    judge,
    load_rules,
    measure_quality,
)

SCHEMA = CONTRACTS["reasoning_traces"].polars_schema()
OPTIONS = ("for", "against")
QUESTIONS = pl.DataFrame(
    {"scenario_id": ["tax"], "question_id": ["support"], "options": [list(OPTIONS)], "option_scores": [[1.0, -1.0]]}
)
NUM_AGENTS, NUM_DRAWS = 60, 5
REASONS = ("it will cost me more", "the streets need it", "my neighbours talk of little else", "I do not trust them")


def make_traces() -> pl.DataFrame:
    """Sixty people with their own minds and words, each asked five times."""
    generator = np.random.default_rng(3)
    rows = []
    for agent in range(NUM_AGENTS):
        chance = generator.uniform(0.03, 0.97)
        for draw in range(NUM_DRAWS):
            option = OPTIONS[int(generator.random() > chance)]
            stance = 2 * chance - 1
            side = OPTIONS[int(chance < 0.5)]
            statement = f"I would say {side} and I have my reasons for it."
            thought = f"I am {side} this tax because {REASONS[agent % 4]}, and I have thought so for {agent + 2} years."
            rows.append(
                {
                    "custom_id": f"{agent}-{draw}",
                    "kind": "rollout",
                    "scenario_id": "tax",
                    "question_id": "support",
                    "agent_id": agent,
                    "timestep": 0,
                    "draw": draw,
                    "repeat_group": f"tax|{agent}|0",
                    "reaction": f"Thinks: {thought}\nSays: {statement}",
                    "option_probabilities": [chance, 1 - chance],
                    "option": option,
                    "private_stance": stance,
                    "statement": statement,
                    "will_share": True,
                    "rationale": "It follows from what the person says.",
                    "teacher": "models.example",
                    "model": "made-1",
                    "is_refusal": False,
                    "validation_status": "valid",
                }
            )
    return pl.DataFrame(rows, schema_overrides=SCHEMA).select(
        pl.col(name) if name in rows[0] else pl.lit(None, dtype).alias(name) for name, dtype in SCHEMA.items()
    )


TRACES = make_traces()


def some(share: float, **changes: pl.Expr | object) -> pl.DataFrame:
    """The traces with some rows changed, spread evenly."""
    is_one = (pl.int_range(pl.len()) % 100) < round(100 * share)
    return TRACES.with_columns(
        pl.when(is_one)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value, SCHEMA[name]))
        .otherwise(pl.col(name))
        .alias(name)
        for name, value in changes.items()
    )


def broken(traces: pl.DataFrame, questions: pl.DataFrame | None = QUESTIONS) -> dict[str, bool]:
    """Names of broken rules, and whether they block."""
    return {finding.rule: finding.is_blocking for finding in judge(measure_quality(traces, questions))}


def test_sound_answers_break_no_rule() -> None:
    assert broken(TRACES) == {}


REACTION = "Thinks: {}\nSays: nothing"
FAULTS: tuple[tuple[str, float, bool, Callable[[float], pl.DataFrame]], ...] = (
    ("failed_answers", 0.10, False, lambda share: some(share, validation_status="failed")),
    ("failed_answers", 0.60, True, lambda share: some(share, validation_status="failed")),
    ("refusals", 0.20, False, lambda share: some(share, is_refusal=True)),
    ("refusals", 0.60, True, lambda share: some(share, is_refusal=True)),
    ("collapse_onto_one_option", 1.0, False, lambda share: some(share, option="for")),
    (
        "collapse_beyond_people",
        1.0,
        False,
        lambda share: some(share, option="for", human_option=pl.col("option")),
    ),
    (
        "people_told_apart",
        1.0,
        False,
        lambda share: some(share, option=pl.col("option").shuffle(seed=1)),
    ),
    ("repeated_texts", 0.5, False, lambda share: some(share, reaction="Thinks: I am for it.\nSays: I am for it.")),
    (
        "persona_leakage",
        0.05,
        False,
        lambda share: some(
            share, reaction=pl.col("reaction") + " I am person 12 and older than 30 % of the population."
        ),
    ),
    ("persona_leakage", 0.5, True, lambda share: some(share, statement=pl.lit("As the persona says, I am for it."))),
    (
        "out_of_role",
        0.05,
        False,
        lambda share: some(
            share, reaction=pl.lit("Thinks: As an AI language model I have no view.\nSays: I cannot help with that.")
        ),
    ),
    ("out_of_role", 0.5, True, lambda share: some(share, rationale="I'm an AI assistant and do not vote.")),
    (
        "language",
        0.1,
        False,
        lambda share: some(
            share,
            reaction="Thinks: Ich bin gegen diese Steuer, weil sie mich Geld kostet.\nSays: Ich bin dagegen.",
            statement="Ich bin dagegen.",
        ),
    ),
    (
        "language",
        0.6,
        True,
        lambda share: some(share, reaction="Thinks: 我反对这项税收。\nSays: 我反对。", statement="我反对。"),
    ),
    ("stance_against_options", 0.1, False, lambda share: some(share, private_stance=-pl.col("private_stance").sign())),
    ("stance_against_options", 1.0, True, lambda share: some(share, private_stance=-pl.col("private_stance").sign())),
    (
        "classification_against_reaction",
        0.1,
        False,
        lambda share: some(
            share, reaction=pl.lit("Thinks: I am all for it, and nothing will change that.\nSays: nothing")
        ).with_columns(
            pl.when(pl.int_range(pl.len()) % 100 < 10)
            .then(pl.lit(-0.96))
            .otherwise("private_stance")
            .alias("private_stance"),
            pl.when(pl.int_range(pl.len()) % 100 < 10)
            .then(pl.lit([0.02, 0.98]))
            .otherwise("option_probabilities")
            .alias("option_probabilities"),
            pl.when(pl.int_range(pl.len()) % 100 < 10).then(False).otherwise("will_share").alias("will_share"),
        ),
    ),
    ("sharing_against_statement", 0.1, False, lambda share: some(share, statement="")),
    (
        "sharing_against_statement",
        0.1,
        False,
        lambda share: some(share, reaction=pl.col("reaction").str.replace(r"Says: .*", "Says: nothing")),
    ),
)


@pytest.mark.parametrize(("rule", "share", "is_blocking", "spoil"), FAULTS, ids=[f"{f[0]}-{f[1]}" for f in FAULTS])
def test_each_fault_breaks_the_rule_that_is_named_for_it(
    rule: str, share: float, is_blocking: bool, spoil: Callable[[float], pl.DataFrame]
) -> None:
    found = broken(spoil(share))
    assert found.get(rule) == is_blocking, found


def test_the_suites_of_great_expectations_state_the_same_limits() -> None:
    suites = {suite.name: suite for suite in suites_of("reasoning_traces", TRACES, QUESTIONS)}
    for name, attribute in (("reasoning_traces_by_question", "warns"), ("reasoning_traces_blocking", "blocks")):
        stated = {each.arguments["column"] for each in suites[name].expected}
        assert {rule.name for rule in load_rules() if getattr(rule, attribute)} <= stated
        assert stated <= set(suites[name].frame.columns)


def test_what_cannot_be_measured_is_passed_over() -> None:
    recorded = TRACES.filter(pl.col("draw") == 0).with_columns(
        pl.lit("recorded").alias("kind"),
        *(pl.lit(None, SCHEMA[name]).alias(name) for name in ("reaction", "statement", "will_share", "private_stance")),
        pl.lit(None, SCHEMA["option_probabilities"]).alias("option_probabilities"),
    )
    row = measure_quality(recorded, QUESTIONS).row(0, named=True)
    for measure in ("person_information_excess", "leak_share", "foreign_share", "stance_contradiction_share"):
        assert row[measure] is None
    assert row["modal_share"] is not None
    assert broken(recorded) == {}
    assert measure_quality(TRACES)["stance_contradiction_share"].to_list() == [None], "without options and scores"


def test_small_groups_and_excepted_teachers_are_not_judged() -> None:
    few = some(1.0, is_refusal=True).head(10)
    assert broken(few) == {}
    stock = some(0.5, reaction="Thinks: I am for it.\nSays: I am for it.")
    assert "repeated_texts" not in broken(stock.with_columns(pl.lit("embedded").alias("teacher")))


@pytest.mark.parametrize(
    ("text", "is_foreign"),
    [
        ("I do not think that the tax is fair to people like me.", False),
        ("Cet impôt ne me semble pas juste pour les gens comme moi.", True),
        ("Этот налог несправедлив", True),
        ("Yes.", False),
        ("On abortion I lean to yes and am quite sure. That is how I have long seen it.", False),
    ],
)
def test_the_language_detector_on_plain_cases(text: str, is_foreign: bool) -> None:
    row = TRACES.head(1).with_columns(pl.lit(f"Thinks: {text}").alias("reaction"), pl.lit("").alias("statement"))
    assert flag_answers(row)["is_foreign"].item() == is_foreign


def test_telling_people_apart_is_not_feigned_by_few_redraws() -> None:
    """Coins tossed for sixty people look informative by the plain estimate; beyond chance they are not."""
    coins = TRACES.with_columns(
        pl.Series("option", np.random.default_rng(5).choice(OPTIONS, TRACES.height), dtype=pl.String)
    )
    assert measure_quality(coins)["person_information_excess"].item() < 0.02
    assert measure_quality(TRACES)["person_information_excess"].item() > 0.1


@pytest.mark.parametrize(
    "text",
    [
        "rules: [{name: a, measure: charm, warn_above: 1, why: b}]",
        "rules: [{name: a, measure: modal_share, why: b}]",
        "rules: [{name: a, measure: modal_share, warn_over: 1, why: b}]",
    ],
)
def test_a_rule_that_cannot_be_used_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(QualityRuleError, match="rule 'a'"):
        load_rules(file)


def test_blocking_findings_come_first_and_say_why() -> None:
    rules = (
        QualityRule("soft", "modal_share", "because", warn_above=0.0),
        QualityRule("hard", "modal_share", "because", block_above=0.0),
    )
    findings = judge(measure_quality(TRACES), rules)
    assert [finding.rule for finding in findings] == ["hard", "soft"]
    assert "tax/support, made-1" in str(findings[0])
