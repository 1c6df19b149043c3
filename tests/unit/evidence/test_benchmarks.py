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


def test_shares_are_what_the_tables_hold(evidence_tables):
    agents, scores = evidence_tables["agents"], evidence_tables["benchmark_scores"]
    liberal = agents["ideology"].is_in(["liberal", "very_liberal"]).mean()
    assert score_of(scores, "ideology", "liberal")["value"] == pytest.approx(liberal)
    votes = agents.filter(pl.col("past_vote") != "no_recorded_vote")["past_vote"]
    assert score_of(scores, "presidential_vote", "trump among recorded votes")["value"] == pytest.approx(
        (votes == "trump").mean()
    )


def test_a_figure_within_its_tolerance_is_met(evidence_tables):
    entry = next(entry for entry in load_benchmarks() if entry.slice == "liberal")
    agents = evidence_tables["agents"]
    num_liberal = round(entry.target * agents.height)
    levels = ["liberal"] * num_liberal + ["moderate"] * (agents.height - num_liberal)
    scores = score_benchmarks(agents.with_columns(pl.Series("ideology", levels)), evidence_tables["ties"])
    assert score_of(scores, "ideology", "liberal")["verdict"] == "met"
    assert score_of(scores, "ideology", "conservative")["verdict"] == "falls short"


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
