"""`populace traces`: what an elicitation will cost, and what the ledger holds, as a reader of the terminal sees it."""

import io
from pathlib import Path

import pytest
from elicit_tiny_society import elicit
from faulty_teacher import FaultyTeacher
from rich.console import Console

from assets.traces.ledger import LedgerError
from assets.traces.prices import prices_dated
from orchestration.settings import Settings
from orchestration.traces_commands import print_estimate, print_ledger


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        home=tmp_path,
        recipe="smoke",
        teacher_base_url="http://127.0.0.1:9/v1",
        teacher_model="gpt-4o",
        teacher_mode="batch",
    )


def printed(what, settings: Settings) -> str:
    output = io.StringIO()
    what(settings, Console(width=80, file=output))
    return output.getvalue()


def test_the_estimate_sends_nothing_and_says_what_a_batch_saves(settings: Settings) -> None:
    text = printed(print_estimate, settings)
    assert f"Prices dated {prices_dated()}" in text
    assert "in batch mode, recipe smoke" in text
    (row,) = (line for line in text.splitlines() if "classification" in line)
    *_, live, batch = (float(cell.replace(",", "")) for cell in row.split()[1:])
    assert batch == pytest.approx(0.5 * live, abs=0.011)
    assert not settings.ledger_path.exists()


def test_a_model_without_a_price_is_named(settings: Settings) -> None:
    text = printed(print_estimate, settings.model_copy(update={"teacher_model": "a-model-of-mine"}))
    assert "a-model-of-mine is not in assets/traces/prices.yaml" in text


def test_texts_to_encode_are_counted_and_priced_where_an_endpoint_encodes_them(settings: Settings) -> None:
    plain = printed(print_estimate, settings)
    encoded = printed(print_estimate, settings.model_copy(update={"embedding_model": "text-embedding-3-large"}))
    assert "text encoder" not in plain
    assert "text encoder text-embedding-3-large@127.0.0.1" in " ".join(encoded.split())
    (row,) = (line for line in encoded.splitlines() if line.split()[1:2] == ["0"] and len(line.split()) == 4)
    texts, _, tokens, dollars = (float(cell.replace(",", "")) for cell in row.split())
    assert texts > 100
    assert dollars == pytest.approx(0.13e-6 * tokens, abs=5.1e-5)
    dear = printed(print_estimate, settings.model_copy(update={"embedding_model": "an-encoder-of-mine"}))
    assert "an-encoder-of-mine is not in assets/traces/prices.yaml" in dear


def test_the_ledger_tells_answers_failures_and_money(settings: Settings) -> None:
    with pytest.raises(LedgerError, match="nothing was asked"):
        print_ledger(settings, Console(quiet=True))
    with FaultyTeacher({"no_choices": 0.2}) as server:
        elicitation = elicit(settings.ledger_path, server.base_url, num_timesteps=0)
    text = printed(print_ledger, settings)
    assert f"Spent {elicitation.cost_usd:,.4f} USD" in text
    assert "after 1: the reply is no chat completion" in text
