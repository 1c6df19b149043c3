"""The ledger: what was bought is found again, by the same request only, and its cost is never forgotten."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from assets.traces.completions import Answer, Request, Usage, request_digest
from assets.traces.estimates import ledger_state
from assets.traces.ledger import Attempt, Busy, Ledger, LedgerError, TooDear
from assets.traces.ledger_schema import NAMES

MESSAGES = [{"role": "user", "content": "Which one?"}]
REQUEST = Request("a", MESSAGES, 7, is_json=False)
ANSWER = Answer("that one", None, 10, 4, 3, 0.25, 12.5, "stop")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "ledger.sqlite"


def claim(ledger: Ledger, request: Request = REQUEST, expected_usd: float = 0.3, budget_usd: float = 9.0):
    return ledger.commit(ledger.claim(request, "m", expected_usd, budget_usd))[0]


def buy(ledger: Ledger, request: Request = REQUEST, answer: Answer = ANSWER) -> None:
    attempt = claim(ledger, request)
    assert isinstance(attempt, Attempt)
    ledger.commit(ledger.answer(attempt.attempt_id, answer))


def test_the_same_request_is_found_and_no_other(path: Path) -> None:
    with Ledger(path) as ledger:
        assert ledger.find("a", REQUEST.digest) is None
        buy(ledger)
        assert ledger.find("a", REQUEST.digest) == ANSWER
        assert ledger.find("b", REQUEST.digest) is None
        assert ledger.find("a", request_digest(MESSAGES, 8)) is None
        assert ledger.find("a", request_digest([{"role": "user", "content": "Which?"}], 7)) is None


def test_a_digest_depends_on_content_and_not_on_the_order_of_keys() -> None:
    assert request_digest([{"content": "Which one?", "role": "user"}], 7) == REQUEST.digest
    assert request_digest([*MESSAGES, *MESSAGES], 7) != REQUEST.digest


def test_answers_and_spending_survive_reopening(path: Path) -> None:
    refusal = replace(ANSWER, content=None, refusal="I cannot.", cost_usd=0.5)
    with Ledger(path) as ledger:
        buy(ledger)
        buy(ledger, replace(REQUEST, custom_id="b"), refusal)
        assert ledger.spent_usd == 0.75
    with Ledger(path) as ledger:
        assert ledger.spent_usd == 0.75
        assert ledger.find("b", REQUEST.digest) == refusal
        assert len(ledger) == 2


def test_a_request_that_is_claimed_is_nobody_elses_until_it_is_answered(path: Path) -> None:
    with Ledger(path) as ledger, Ledger(path) as other:
        attempt = claim(ledger)
        assert claim(other) == Busy(ledger.owner)
        assert claim(ledger) == Busy(ledger.owner), "not even one's own twice"
        ledger.commit(ledger.answer(attempt.attempt_id, ANSWER))
        assert claim(other) == ANSWER


def test_claims_of_a_process_that_ended_lapse_and_may_have_cost(path: Path) -> None:
    with Ledger(path) as ledger:
        with Ledger(path) as other:
            assert isinstance(claim(other), Attempt)
        assert isinstance(claim(ledger), Attempt)
        assert (ledger.spent_usd, ledger.unconfirmed_usd) == (0.0, 0.3)


def test_what_is_under_way_anywhere_counts_against_the_budget(path: Path) -> None:
    with Ledger(path) as ledger, Ledger(path) as other:
        attempt = claim(ledger, expected_usd=0.6, budget_usd=1.0)
        second = replace(REQUEST, custom_id="b")
        assert claim(other, second, 0.6, 1.0) == TooDear(0.0, 0.0, is_final=False)
        ledger.commit(ledger.answer(attempt.attempt_id, ANSWER))
        attempt = claim(other, second, 0.6, 1.0)
        other.commit(other.answer(attempt.attempt_id, replace(ANSWER, cost_usd=0.6)))
        assert claim(ledger, replace(REQUEST, custom_id="c"), 0.6, 1.0) == TooDear(0.85, 0.0, is_final=True)


def test_usage_of_a_reply_that_could_not_be_read_is_paid_for(path: Path) -> None:
    with Ledger(path) as ledger:
        first = claim(ledger)
        ledger.commit(ledger.fail(first.attempt_id, "no choices", usage=Usage(10, 0, 5, 0.125)))
        assert ledger_state(path).failures.rows() == [("a", "no choices", 1)]
        buy(ledger)
        assert ledger.spent_usd == 0.375
        assert ledger_state(path).failures.is_empty()


def test_an_operation_that_fails_takes_its_whole_commit_back(path: Path) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(LedgerError):
            ledger.commit(ledger.claim(REQUEST, "m", 0.3, 9.0), lambda connection: connection.execute("nonsense"))
        assert isinstance(claim(ledger), Attempt)
        assert claim(ledger, replace(REQUEST, custom_id="b"), 0.6, 1.0) == Attempt(2), "nothing is counted twice"


def test_rows_are_neither_changed_nor_removed(path: Path) -> None:
    with Ledger(path) as ledger:
        buy(ledger)
    connection = sqlite3.connect(path)
    for table in NAMES:
        if connection.execute(f"select count(*) from {table}").fetchone()[0]:
            column = connection.execute(f"pragma table_info({table})").fetchone()[1]
            for statement in (f"delete from {table}", f"update {table} set {column} = {column}"):
                with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                    connection.execute(statement)


def test_a_ledger_of_the_first_version_keeps_its_answers_and_their_cost(path: Path) -> None:
    path.parent.mkdir()
    connection = sqlite3.connect(path)
    connection.execute(
        "create table answers (custom_id text not null, request_digest text not null, model text not null, "
        "content text, refusal text, prompt_tokens integer not null, cached_tokens integer not null, "
        "completion_tokens integer not null, cost_usd real not null, latency_ms real not null, "
        "answered_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')), "
        "primary key (custom_id, request_digest)) without rowid"
    )
    connection.execute(
        "insert into answers values ('a', ?, 'm', 'that one', null, 10, 4, 3, 0.25, 12.5, 't')", (REQUEST.digest,)
    )
    connection.commit()
    connection.close()
    for _ in range(2):
        with Ledger(path) as ledger:
            assert ledger.find("a", REQUEST.digest) == replace(ANSWER, finish_reason=None)
            assert ledger.spent_usd == 0.25
            assert claim(ledger) == replace(ANSWER, finish_reason=None)


def test_a_file_that_is_no_ledger_is_said_to_be_none(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("not a database, but long enough to look like one" * 50)
    with pytest.raises(LedgerError, match="cannot be used"):
        Ledger(path)
