"""A teacher that misbehaves: every planned request ends answered once or listed as failed, and the money adds up.

The server counts the usage of everything it generates; the ledger must come to the same sum.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import elicit_tiny_society
import polars as pl
import pytest
from elicit_tiny_society import KEY, MODEL, elicit
from faulty_teacher import FaultyTeacher
from polars.testing import assert_frame_equal

from assets.traces import ledger as ledger_module
from assets.traces import retrying
from assets.traces.asking import BudgetExceeded, ElicitationError, TeacherUnusable
from assets.traces.elicitation import Elicitation
from assets.traces.estimates import ledger_state
from assets.traces.ledger import Ledger, LedgerError
from assets.traces.prices import find_price
from orchestration.settings import PROJECT_ROOT

PRICE = find_price(MODEL)
MEASURED = ("latency_ms", "cost_usd")
NUM_AGENTS = 20
SCRIPT = Path(elicit_tiny_society.__file__)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying, "FIRST_WAIT_SECONDS", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> pl.DataFrame:
    """What a server without faults gives."""
    with FaultyTeacher() as server:
        return elicit(tmp_path_factory.mktemp("undisturbed") / "ledger.sqlite", server.base_url).traces


def audit(server: FaultyTeacher, path: Path, traces: pl.DataFrame) -> None:
    """What must hold after every fault."""
    assert traces["custom_id"].n_unique() == traces.height
    listed = traces["validation_status"].is_in(["valid", "repaired"]) | traces["rationale"].str.contains(
        "^(failed|ref)"
    )
    assert listed.all()
    with Ledger(path) as ledger:
        assert max(server.delivered.values()) == 1, "nothing is answered twice"
        assert len(ledger) == len(server.delivered)
        assert ledger.spent_usd == pytest.approx(server.cost_usd(PRICE.cost_usd))
        assert ledger.close_abandoned() == 0


def same_answers(one: pl.DataFrame, other: pl.DataFrame) -> None:
    assert_frame_equal(one.drop(MEASURED), other.drop(MEASURED))


@pytest.mark.parametrize(
    "faults",
    [{"429": 0.1}, {"500": 0.05}, {"reset": 0.1}, {"never": 0.05}, {"429": 0.1, "500": 0.05, "reset": 0.05}],
    ids=["429", "500", "reset", "never", "all"],
)
def test_faults_on_the_way_change_nothing(path: Path, undisturbed: pl.DataFrame, faults: dict[str, float]) -> None:
    with FaultyTeacher(faults, retry_after="retry-after-ms: 5") as server:
        elicitation = elicit(path, server.base_url, timeout_seconds=1.0 if "never" in faults else 20.0)
        assert all(server.statuses[fault] > 0 for fault in faults), "the faults really happened"
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)
    with Ledger(path) as ledger:
        num_lost = server.statuses["reset"] + server.statuses["never"]
        count = "select count(*), sum(is_unconfirmed) from outcomes where reason is not null"
        assert ledger.commit(lambda connection: connection.execute(count).fetchone())[0] == (
            sum(server.statuses[fault] for fault in faults),
            num_lost,
        ), "every attempt stands in the ledger with its reason"


def test_where_keys_are_not_honoured_what_was_lost_is_told_apart(path: Path) -> None:
    with FaultyTeacher({"reset": 0.2}, honours_keys=False) as server:
        elicit(path, server.base_url)
        num_lost = server.statuses["reset"]
        with Ledger(path) as ledger:
            count = "select count(*) from outcomes where is_unconfirmed"
            assert ledger.commit(lambda connection: connection.execute(count).fetchone())[0] == (num_lost,)
            total = server.cost_usd(PRICE.cost_usd)
            assert ledger.spent_usd < total <= ledger.spent_usd + ledger.unconfirmed_usd


@pytest.mark.parametrize(
    ("fault", "status", "rationale"),
    [
        ("malformed", ["repaired", "valid"], None),
        ("wrong_schema", ["repaired", "valid"], None),
        ("truncated", ["repaired", "valid"], None),
        ("refusal", ["failed", "valid"], "refused: I would rather not."),
        ("no_choices", ["failed", "valid"], "failed: the reply is no chat completion: it lacks choices with a message"),
    ],
)
def test_answers_that_cannot_be_used(path: Path, fault: str, status: list[str], rationale: str | None) -> None:
    with FaultyTeacher({fault: 0.15}, seed=3) as server:
        traces = elicit(path, server.base_url).traces
        assert server.statuses[fault] > 0
        assert set(status) <= set(traces["validation_status"]) <= {*status, "failed"}
        with Ledger(path) as ledger:
            assert ledger.spent_usd == pytest.approx(server.cost_usd(PRICE.cost_usd)), "paid for, used or not"
        if rationale:
            bad = traces.filter(pl.col("validation_status") == "failed")
            assert set(bad["rationale"]) == {rationale}
            assert (bad["is_refusal"] == (fault == "refusal")).all()


def test_broken_json_is_asked_for_again(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher({"broken_json": 0.1}, honours_keys=False) as server:
        traces = elicit(path, server.base_url).traces
        assert server.statuses["broken_json"] > 0
    same_answers(traces, undisturbed)


def test_a_request_that_never_succeeds_is_listed_with_its_reason_and_asked_again_later(path: Path) -> None:
    with FaultyTeacher({"500": 1.0}) as server:
        traces = elicit(path, server.base_url, num_agents=12, num_timesteps=0).traces
        assert set(traces["rationale"]) == {"failed: HTTP 500 (not now) (8 attempts)"}
        failures = ledger_state(path).failures
        assert failures.height == traces.height
        assert failures.select("reason", "num_attempts").unique().rows() == [("HTTP 500 (not now)", 8)]
        server.faults = {}
        later = elicit(path, server.base_url, num_agents=12, num_timesteps=0)
        assert later.traces["validation_status"].unique().to_list() == ["valid"]
        audit(server, path, later.traces)


def test_a_clock_that_jumps_does_not_matter(
    path: Path, undisturbed: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = time.time, iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: real() + (-1) ** next(calls) * 86_400.0 * (next(calls) % 7))
    began = time.monotonic()
    date = "date: Thu, 01 Jan 1998 00:00:00 GMT\r\nretry-after: Thu, 01 Jan 1998 00:00:01 GMT"
    with FaultyTeacher({"429": 0.02, "500": 0.05}, retry_after=date) as server:
        elicitation = elicit(path, server.base_url)
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)
    assert elicitation.traces["latency_ms"].is_between(0, 20_000).all()
    assert time.monotonic() - began < 60


def test_the_budget_holds_with_many_under_way(path: Path) -> None:
    with FaultyTeacher(latency_seconds=0.02) as server:
        with pytest.raises(BudgetExceeded):
            elicit(path, server.base_url, budget_usd=0.05)
        with Ledger(path) as ledger:
            spent = ledger.spent_usd
        assert 0 < spent <= 0.05
        assert spent == pytest.approx(server.cost_usd(PRICE.cost_usd))
        elicitation = elicit(path, server.base_url)
        audit(server, path, elicitation.traces)


# A full disk


def test_an_engine_that_cannot_write_stops_with_one_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cramped(connection) -> None:
        create_tables(connection)
        connection.execute("pragma max_page_count = 40")

    create_tables = ledger_module.create_tables
    with FaultyTeacher(latency_seconds=0.01) as server:
        with monkeypatch.context() as patch:
            patch.setattr(ledger_module, "create_tables", cramped)
            with pytest.raises(LedgerError, match=r"is full, so nothing more is asked.*run again"):
                elicit(path, server.base_url)
        num_before = len(server.generations)
        with Ledger(path) as ledger:
            num_kept = len(ledger)
            assert 0 < num_kept <= num_before
        elicitation = elicit(path, server.base_url)
        assert elicitation.num_known == num_kept
        assert max(server.delivered.values()) <= 2
        with Ledger(path) as ledger:
            assert ledger.spent_usd == pytest.approx(server.cost_usd(PRICE.cost_usd)), "lost replies came again, free"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of six megabytes; only root may make one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True)
    if made.returncode:
        pytest.skip("a small file system cannot be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_loses_nothing_that_was_under_way(small_disk: Path) -> None:
    path, filler = small_disk / "ledger.sqlite", small_disk / "filler"
    with FaultyTeacher(latency_seconds=0.02) as server:
        with Ledger(path) as ledger:
            assert len(ledger) == 0
        filler.write_bytes(b"\0" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize - 300_000))
        with pytest.raises(LedgerError, match="is full") as raised:
            elicit(path, server.base_url)
        assert str(raised.value).count("is full") == 1
        filler.unlink()
        with Ledger(path) as ledger:
            assert len(ledger) == len(server.delivered) > 0
            assert ledger.spent_usd == pytest.approx(server.cost_usd(PRICE.cost_usd))
        audit(server, path, elicit(path, server.base_url).traces)


# Killed runs, and several at once


def start(folder: Path, server: FaultyTeacher, mode: str = "live", name: str = "traces") -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), str(folder), server.base_url, mode, name],
        cwd=PROJECT_ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_when(process: subprocess.Popen, is_time: Callable[[], bool]) -> None:
    """Kills a run at a moment; it must not have ended by itself."""
    deadline = time.monotonic() + 120
    while not is_time():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_killed_run_resumes_and_asks_only_what_is_missing(tmp_path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher(latency_seconds=0.05) as server:
        for num_seen in (1, 60):
            kill_when(start(tmp_path, server), lambda: server.seen.total() >= num_seen)  # noqa: B023
        num_under_way = server.seen.total() - len(server.seen)
        elicitation = elicit(tmp_path / "ledger.sqlite", server.base_url)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            count = "select count(*) from outcomes where reason is not null"
            (num_lost,) = ledger.commit(lambda connection: connection.execute(count).fetchone())[0]
            assert ledger.spent_usd == pytest.approx(server.cost_usd(PRICE.cost_usd))
        again = server.seen.total() - len(server.seen)
        assert num_under_way <= again <= num_lost <= 2 * 64, "only what was under way is asked again"
        assert max(server.counted().values()) == 1
    same_answers(elicitation.traces, undisturbed)


@pytest.mark.slow
def test_an_interrupted_run_still_keeps_what_was_under_way(tmp_path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher(latency_seconds=0.5) as server:
        process = start(tmp_path, server)
        while server.in_flight < 10:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode != 0
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            assert len(ledger) == len(server.delivered) >= 10
            assert ledger.close_abandoned() == 0
            assert ledger.unconfirmed_usd == 0
        elicitation = elicit(tmp_path / "ledger.sqlite", server.base_url)
        audit(server, tmp_path / "ledger.sqlite", elicitation.traces)
    same_answers(elicitation.traces, undisturbed)


@pytest.mark.slow
def test_two_runs_at_once_ask_nothing_twice(tmp_path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher(latency_seconds=0.05, honours_keys=False) as server:
        runs = [start(tmp_path, server, name=name) for name in ("one", "other")]
        asked = []
        for process in runs:
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            asked.append([int(word) for word in output.split()])
        assert max(server.seen.values()) == 1
        assert sum(num_asked for num_asked, _ in asked) == len(server.seen)
        audit(server, tmp_path / "ledger.sqlite", undisturbed)
    for name in ("one", "other"):
        same_answers(pl.read_parquet(tmp_path / f"{name}.parquet"), undisturbed)


# Batches


def test_a_batch_gives_the_same_rows_at_the_price_of_a_batch(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher() as server:
        elicitation = elicit(path, server.base_url, mode="batch")
        assert server.statuses.total() == 0, "nothing was asked one by one"
        assert len(server.batches) == 2 * 2, "one for each pass of each timestep"
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)
    assert elicitation.traces["latency_ms"].null_count() == elicitation.traces.height
    assert elicitation.cost_usd == pytest.approx(0.5 * undisturbed["cost_usd"].sum())


def test_one_plan_live_in_batch_interrupted_and_resumed_gives_the_same_rows(tmp_path: Path) -> None:
    with FaultyTeacher() as server:
        live = elicit(tmp_path / "live.sqlite", server.base_url).traces
        batch = elicit(tmp_path / "batch.sqlite", server.base_url, mode="batch").traces
        with pytest.raises(BudgetExceeded):
            elicit(tmp_path / "stopped.sqlite", server.base_url, budget_usd=0.1)
        with Ledger(tmp_path / "stopped.sqlite") as ledger:
            assert 0 < len(ledger) < 2 * live.height, "it stopped in the middle"
        resumed = elicit(tmp_path / "stopped.sqlite", server.base_url)
        assert resumed.num_known > 0
        assert resumed.num_asked > 0
    same_answers(batch, live)
    same_answers(resumed.traces, live)


def test_a_plan_that_was_begun_live_ends_in_batches(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher() as server:
        with pytest.raises(BudgetExceeded):
            elicit(path, server.base_url, budget_usd=0.1)
        elicitation = elicit(path, server.base_url, mode="batch")
        assert elicitation.num_known > 0
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)


def test_a_batch_that_expires_half_done_is_finished_by_another(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher(expire=1) as server:
        elicitation = elicit(path, server.base_url, mode="batch")
        assert [batch.status for batch in server.batches.values()].count("expired") == 1
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)


def test_what_no_batch_gets_done_is_listed_as_failed(path: Path) -> None:
    with FaultyTeacher(expire=99) as server:
        traces = elicit(path, server.base_url, mode="batch", num_timesteps=0).traces
        failed = traces.filter(pl.col("validation_status") == "failed")
        assert failed.height > 0
        assert set(failed["rationale"]) == {"failed: This request could not be executed in time. (3 batches)"}
        with Ledger(path) as ledger:
            assert ledger.spent_usd == pytest.approx(server.cost_usd(PRICE.cost_usd))


def test_errors_within_a_batch_are_asked_again(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher({"500": 0.1}) as server:
        same_answers(elicit(path, server.base_url, mode="batch").traces, undisturbed)
        assert server.seen.total() > len(server.seen)


def test_a_cancelled_batch_stops_the_run_and_its_answers_are_kept(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher() as server:

        def cancel() -> None:
            batch = server.batches["batch-0"]
            server._finish(batch)
            batch.status = "cancelled"

        server.on_batch, server.expire = cancel, 1
        with pytest.raises(ElicitationError, match=r"batch-0 .*ended as cancelled"):
            elicit(path, server.base_url, mode="batch")
        server.on_batch = lambda: None
        elicitation = elicit(path, server.base_url, mode="batch")
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)


def test_a_server_without_batches_is_named(path: Path) -> None:
    with FaultyTeacher() as server:
        server._other = lambda *_: (404, b"{}")  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(TeacherUnusable, match="POPULACE_TEACHER_MODE=live") as raised:
            elicit(path, server.base_url, mode="batch")
        assert KEY not in f"{raised.value!r}"


def test_a_batch_that_cannot_be_looked_for_is_not_sent_again(path: Path, undisturbed: pl.DataFrame) -> None:
    with FaultyTeacher() as server:
        honest, is_hiding = server._other, [True]

        def hide_batches(method: str, address: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
            status, content = honest(method, address, headers, body)
            if is_hiding[0] and address == "/v1/batches":
                return (503 if method == "POST" else 403), b"{}"
            return status, content

        server._other = hide_batches  # pyright: ignore[reportAttributeAccessIssue]
        with pytest.raises(TeacherUnusable, match=r"key and project that made them.*collected, not bought again"):
            elicit(path, server.base_url, mode="batch")
        assert len(server.batches) == 1, "the server took the batch all the same"
        is_hiding[0] = False
        elicitation = elicit(path, server.base_url, mode="batch")
        assert len(server.batches) == 4, "the first batch was not sent again"
        audit(server, path, elicitation.traces)
    same_answers(elicitation.traces, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "mode"), [("before the reply", "batch"), ("while it is polled", "live")])
def test_a_batch_outlives_the_run_that_sent_it(
    tmp_path: Path, undisturbed: pl.DataFrame, moment: str, mode: str
) -> None:
    with FaultyTeacher(polls_needed=10**9) as server:
        process = start(tmp_path, server, "batch")
        if moment == "before the reply":
            server.on_batch = process.kill
            process.communicate()
            server.on_batch = lambda: None
        else:
            kill_when(process, lambda: any(batch.polls > 1 for batch in server.batches.values()))
        assert len(server.batches) == 1
        server.polls_needed = 2
        elicitation = elicit(tmp_path / "ledger.sqlite", server.base_url, mode=mode)
        assert len(server.batches) == (4 if mode == "batch" else 1), "the first batch was not sent again"
        audit(server, tmp_path / "ledger.sqlite", elicitation.traces)
    same_answers(elicitation.traces, undisturbed)


def test_the_key_is_written_nowhere(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with FaultyTeacher({"500": 0.1, "reset": 0.1}) as server:
        found: Elicitation = elicit(path, server.base_url)
    assert KEY not in str(found.traces.to_dicts())
    assert KEY not in caplog.text
    files = [file for file in path.parent.rglob("*") if file.is_file()]
    assert files
    assert all(KEY.encode() not in file.read_bytes() for file in files)
