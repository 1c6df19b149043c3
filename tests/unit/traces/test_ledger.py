"""The ledger: what was bought is found again, by the same request only, and its cost is never forgotten."""

from dataclasses import replace
from pathlib import Path

import pytest

from assets.traces.ledger import Answer, Ledger, request_digest

MESSAGES = [{"role": "user", "content": "Which one?"}]
DIGEST = request_digest(MESSAGES, 7)
ANSWER = Answer("that one", None, 10, 4, 3, 0.25, 12.5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger.sqlite"


def test_the_same_request_is_found_and_no_other(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.find("a", DIGEST) is None
        ledger.add("a", DIGEST, "m", ANSWER)
        assert ledger.find("a", DIGEST) == ANSWER
        assert ledger.find("b", DIGEST) is None
        assert ledger.find("a", request_digest(MESSAGES, 8)) is None
        assert ledger.find("a", request_digest([{"role": "user", "content": "Which?"}], 7)) is None


def test_a_digest_depends_on_content_and_not_on_the_order_of_keys() -> None:
    assert request_digest([{"content": "Which one?", "role": "user"}], 7) == DIGEST
    assert request_digest([*MESSAGES, *MESSAGES], 7) != DIGEST


def test_answers_and_spending_survive_reopening(path: Path) -> None:
    refusal = replace(ANSWER, content=None, refusal="I cannot.", cost_usd=0.5)
    with Ledger(path) as ledger:
        ledger.add("a", DIGEST, "m", ANSWER)
        ledger.add("b", DIGEST, "m", refusal)
        assert ledger.spent_usd == 0.75
    with Ledger(path) as ledger:
        assert ledger.spent_usd == 0.75
        assert ledger.find("b", DIGEST) == refusal
        assert len(ledger) == 2


def test_an_answer_is_committed_before_the_ledger_closes(path: Path) -> None:
    with Ledger(path) as ledger, Ledger(path) as other:
        ledger.add("a", DIGEST, "m", ANSWER)
        assert other.find("a", DIGEST) == ANSWER


def test_the_first_answer_stays(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.add("a", DIGEST, "m", ANSWER)
        ledger.add("a", DIGEST, "m", replace(ANSWER, content="another one"))
        assert ledger.find("a", DIGEST) == ANSWER
        assert len(ledger) == 1
