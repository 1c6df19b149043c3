import numpy as np
import polars as pl
import pytest

from assets.evidence.benchmarks import BenchmarkError, load_benchmarks, score_benchmarks


def score_of(scores: pl.DataFrame, benchmark: str, slice_name: str) -> dict:
    return scores.filter((pl.col("benchmark") == benchmark) & (pl.col("slice") == slice_name)).row(0, named=True)


def test_every_declared_figure_has_a_row_even_when_it_falls_short(evidence_tables):
    scores = evidence_tables["benchmark_scores"]
    assert len(scores) == len(load_benchmarks())
    missing = scores.filter(pl.col("value").is_null())
    assert set(missing["verdict"]) == {"falls short"}


def test_shares_and_degrees_are_what_the_tables_hold(evidence_tables):
    agents, scores = evidence_tables["agents"], evidence_tables["benchmark_scores"]
    liberal = agents["ideology"].is_in(["liberal", "very_liberal"]).mean()
    assert score_of(scores, "ideology", "liberal")["value"] == pytest.approx(liberal)
    votes = agents.filter(pl.col("past_vote") != "no_recorded_vote")["past_vote"]
    assert score_of(scores, "presidential_vote", "trump among recorded votes")["value"] == pytest.approx(
        (votes == "trump").mean()
    )
    assert score_of(scores, "contacts_per_person", "mean")["value"] == 6.0
    assert score_of(scores, "clustering", "all social ties")["value"] == 0.4


def test_the_same_age_at_both_ends_correlates_fully(evidence_tables):
    agents = evidence_tables["agents"]
    order_N = np.argsort(agents["age"].to_numpy(), kind="stable")
    age_N = agents["age"].to_numpy()[order_N]
    is_same = age_N[:-1] == age_N[1:]
    ties = pl.DataFrame({"src": order_N[:-1][is_same], "dst": order_N[1:][is_same]}).with_columns(
        pl.lit("friend").alias("tie_type")
    )
    scores = score_benchmarks(agents, ties, evidence_tables["graph_statistics"])
    assert score_of(scores, "contact_age_correlation", "all social ties")["value"] == pytest.approx(1.0)


def test_a_figure_within_its_tolerance_is_met(evidence_tables):
    statistics = evidence_tables["graph_statistics"].with_columns(pl.lit(0.606).alias("value"))
    scores = score_benchmarks(evidence_tables["agents"], evidence_tables["ties"], statistics)
    assert score_of(scores, "clustering", "all social ties")["verdict"] == "met"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("attribute: colour, levels: [red]", "colour"),
        ("attribute: party, levels: [whig]", "whig"),
        ("tolerance: -1", "tolerance"),
    ],
)
def test_wrong_entries_are_named(tmp_path, entry, message):
    path = tmp_path / "benchmarks.yaml"
    values = {"benchmark": "x", "slice": "y", "quantity": "attribute_share", "target": 0.5}
    values |= {"tolerance": 0.1, "is_calibrated": "false", "source": "z"}
    head = ", ".join(f"{name}: {value}" for name, value in values.items() if name not in entry)
    path.write_text(f"benchmarks:\n  - {{{head}, {entry}}}\n", encoding="utf-8")
    with pytest.raises(BenchmarkError, match=message):
        load_benchmarks(path)
