"""The Batch API of the embedded teacher's server: every line of the input ends in exactly one of two files."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assets.traces.embedded_teacher.batches import ENDED, BatchDesk, read_requests
from assets.traces.embedded_teacher.protocol import CHAT, RequestRefused
from assets.traces.embedded_teacher.shelf import Shelf


def answer_even(_: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Answers even numbers, refuses odd ones."""
    return (200, {"n": body["n"]}) if body["n"] % 2 == 0 else (400, {"error": {"message": "odd"}})


def lines(numbers: range) -> bytes:
    requests = [{"custom_id": f"r{n}", "method": "POST", "url": CHAT, "body": {"n": n}} for n in numbers]
    return "".join(f"{json.dumps(request)}\n" for request in requests).encode()


def order(shelf: Shelf, content: bytes) -> dict[str, str]:
    file = shelf.add_file(content, "in.jsonl", "batch")
    return {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}


def wait_for_end(desk: BatchDesk, batch_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        batch = desk.view(batch_id)
        if batch["status"] in ENDED:
            return batch
        time.sleep(0.01)
    raise AssertionError(f"the batch did not end: {desk.view(batch_id)}")


def ids_in(desk: BatchDesk, file_id: str | None) -> list[str]:
    content = desk.shelf.content_of(file_id).decode() if file_id else ""
    return [json.loads(line)["custom_id"] for line in content.splitlines()]


@pytest.fixture
def open_desk(tmp_path: Path) -> Iterator[Callable[..., BatchDesk]]:
    desks: list[BatchDesk] = []

    def make(respond: Any = answer_even, **arguments: float) -> BatchDesk:
        desks.append(BatchDesk(Shelf(tmp_path / "shelf"), respond, **arguments))
        return desks[-1]

    yield make
    for desk in desks:
        desk.close()


def test_answers_and_refusals_part_and_together_are_the_input(open_desk: Callable[..., BatchDesk]) -> None:
    desk = open_desk()
    batch = wait_for_end(desk, desk.create(order(desk.shelf, lines(range(7))))["id"])
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 7, "completed": 4, "failed": 3}
    assert ids_in(desk, batch["output_file_id"]) == ["r0", "r2", "r4", "r6"]
    assert ids_in(desk, batch["error_file_id"]) == ["r1", "r3", "r5"]
    (refused, *_) = desk.shelf.content_of(batch["error_file_id"]).decode().splitlines()
    assert json.loads(refused)["response"]["status_code"] == 400


def test_a_window_that_passes_keeps_what_was_answered(open_desk: Callable[..., BatchDesk]) -> None:
    def slow(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["n"] == 4:
            time.sleep(1.0)
        return answer_even(endpoint, body)

    desk = open_desk(slow, window_seconds=1.0)
    batch = wait_for_end(desk, desk.create(order(desk.shelf, lines(range(9))))["id"])
    assert batch["status"] == "expired"
    assert batch["expired_at"] >= batch["created_at"]
    answered, refused = ids_in(desk, batch["output_file_id"]), ids_in(desk, batch["error_file_id"])
    assert answered == ["r0", "r2", "r4"]
    assert sorted([*answered, *refused]) == [f"r{n}" for n in range(9)]
    last = json.loads(desk.shelf.content_of(batch["error_file_id"]).decode().splitlines()[-1])
    assert (last["response"], last["error"]["code"]) == (None, "batch_expired")


def test_a_cancelled_batch_stops_and_keeps_what_was_answered(open_desk: Callable[..., BatchDesk]) -> None:
    is_under_way, may_go_on = threading.Event(), threading.Event()

    def wait(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["n"] == 2:
            is_under_way.set()
            assert may_go_on.wait(20)
        return answer_even(endpoint, body)

    desk = open_desk(wait)
    batch_id = desk.create(order(desk.shelf, lines(range(6))))["id"]
    assert is_under_way.wait(20)
    assert desk.cancel(batch_id)["status"] == desk.view(batch_id)["status"] == "cancelling"
    may_go_on.set()
    batch = wait_for_end(desk, batch_id)
    assert batch["status"] == "cancelled"
    assert ids_in(desk, batch["output_file_id"]) == ["r0", "r2"]
    with pytest.raises(RequestRefused, match="cannot be cancelled"):
        desk.cancel(batch_id)


def test_the_next_server_takes_up_what_a_stopped_one_left(open_desk: Callable[..., BatchDesk]) -> None:
    is_under_way = threading.Event()

    def stop_here(endpoint: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        is_under_way.set()
        time.sleep(0.05)
        return answer_even(endpoint, body)

    first = open_desk(stop_here)
    batch_id = first.create(order(first.shelf, lines(range(100))))["id"]
    assert is_under_way.wait(20)
    first.close()
    assert first.view(batch_id)["status"] == "in_progress"
    second = open_desk()
    assert second.resume() == 1
    assert wait_for_end(second, batch_id)["request_counts"] == {"total": 100, "completed": 50, "failed": 50}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{", "invalid_json_line"),
        ("[]", "missing_required_parameter"),
        ('{"custom_id": 7, "method": "POST", "url": "/v1/chat/completions", "body": {}}', "missing_required_parameter"),
        ('{"custom_id": "r0", "method": "POST", "url": "/v1/chat/completions", "body": {}}', "duplicate_custom_id"),
        ('{"custom_id": "x", "method": "POST", "url": "/v1/embeddings", "body": {}}', "invalid_url"),
    ],
)
def test_a_wrong_line_fails_the_batch_and_is_named(open_desk: Callable[..., BatchDesk], line: str, code: str) -> None:
    desk = open_desk()
    content = lines(range(1)) + f"{line}\n".encode()
    batch = wait_for_end(desk, desk.create(order(desk.shelf, content))["id"])
    assert batch["status"] == "failed"
    assert [(error["code"], error["line"]) for error in batch["errors"]["data"]] == [(code, 2)]


def test_an_empty_file_and_one_with_too_many_requests_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assets.traces.embedded_teacher.batches.MOST_REQUESTS", 3)
    assert [each["code"] for each in read_requests(b"\n", CHAT)[1]] == ["empty_file"]
    assert [each["code"] for each in read_requests(lines(range(4)), CHAT)[1]] == ["too_many_tasks"]
    assert read_requests(lines(range(3)), CHAT)[1] == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"input_file_id": "file-000000000000000000000000"}, "There is no"),
        ({"input_file_id": "../../secret"}, "There is no"),
    ],
)
def test_a_wrong_order_says_what_is_allowed(
    open_desk: Callable[..., BatchDesk], change: dict[str, str], words: str
) -> None:
    desk = open_desk()
    with pytest.raises(RequestRefused, match=words):
        desk.create(order(desk.shelf, lines(range(1))) | change)
