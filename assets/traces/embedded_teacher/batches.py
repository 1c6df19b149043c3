"""The Batch API of the embedded teacher's server: an uploaded file of requests is answered in the background.

A batch passes through validating → in_progress → finalizing → completed, or ends as failed (the file is wrong), expired
(its window passed; what was answered is kept) or cancelled. Answers go to the output file, refused requests and those
that were never carried out to the error file, so every line of the input is in exactly one of the two.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from assets.traces.embedded_teacher.protocol import BATCHED_ENDPOINTS, RequestRefused
from assets.traces.embedded_teacher.shelf import Shelf

logger = logging.getLogger(__name__)

WINDOW, WINDOW_SECONDS = "24h", 86_400.0
MOST_REQUESTS = 50_000
REQUESTS_PER_NOTE = 200
"""Requests between two updates of a batch's counts."""
ENDED = ("completed", "failed", "expired", "cancelled")

Respond = Callable[[str, Any], tuple[int, dict[str, Any]]]


class BatchDesk:
    """Takes batches and carries them out one after the other on a thread of its own."""

    def __init__(self, shelf: Shelf, respond: Respond, *, window_seconds: float = WINDOW_SECONDS) -> None:
        self.shelf = shelf
        self._respond = respond
        self._window_seconds = window_seconds
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._is_closed = threading.Event()
        self._cancelled: set[str] = set()

    def create(self, body: Any) -> dict[str, Any]:
        """Takes a batch.

        Raises:
            RequestRefused: a field is missing or not allowed, or there is no such input file.
        """
        body = body if isinstance(body, dict) else {}
        if body.get("endpoint") not in BATCHED_ENDPOINTS:
            allowed = ", ".join(BATCHED_ENDPOINTS)
            found = body.get("endpoint")
            raise RequestRefused(
                400, f"endpoint is {found!r}, allowed: {allowed}.", code="invalid_value", param="endpoint"
            )
        if body.get("completion_window") != WINDOW:
            raise RequestRefused(
                400,
                f"completion_window is {body.get('completion_window')!r}, allowed: {WINDOW}.",
                code="invalid_value",
                param="completion_window",
            )
        self.shelf.content_of(str(body.get("input_file_id")))
        now = time.time()
        batch = {
            "id": f"batch_{secrets.token_hex(12)}",
            "object": "batch",
            "endpoint": body["endpoint"],
            "errors": None,
            "input_file_id": body["input_file_id"],
            "completion_window": WINDOW,
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(now),
            "expires_at": int(now + self._window_seconds),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": body.get("metadata"),
        }
        self.shelf.put(batch)
        self._worker.submit(self._carry_out, batch["id"])
        return batch

    def cancel(self, batch_id: str) -> dict[str, Any]:
        """Asks a batch to stop; what was answered is kept.

        Raises:
            RequestRefused: there is no such batch, or it has ended.
        """
        batch = self.shelf.get(batch_id)
        if batch["status"] in ENDED:
            raise RequestRefused(409, f"Batch {batch_id} is {batch['status']} and cannot be cancelled.")
        self._cancelled.add(batch_id)
        return batch | {"status": "cancelling", "cancelling_at": int(time.time())}

    def resume(self) -> int:
        """Takes up batches that an earlier server left unfinished; returns how many."""
        unfinished = [batch for batch in self.shelf.entries("batch") if batch["status"] not in ENDED]
        for batch in reversed(unfinished):
            self._worker.submit(self._carry_out, batch["id"])
        return len(unfinished)

    def close(self) -> None:
        """Stops after the request under way; unfinished batches can be resumed by the next server."""
        self._is_closed.set()
        self._worker.shutdown(wait=True, cancel_futures=True)

    def view(self, batch_id: str) -> dict[str, Any]:
        """A batch as it is now.

        Raises:
            RequestRefused: there is no such batch.
        """
        batch = self.shelf.get(batch_id)
        is_stopping = batch_id in self._cancelled and batch["status"] not in ENDED
        return batch | {"status": "cancelling"} if is_stopping else batch

    def _carry_out(self, batch_id: str) -> None:
        """Answers a batch; whatever goes wrong ends it as failed, so that nobody polls for ever."""
        try:
            self._answer_all(batch_id)
        except Exception as error:
            logger.exception("Batch %s failed.", batch_id)
            problem = {"code": "server_error", "message": type(error).__name__, "param": None, "line": None}
            errors = {"object": "list", "data": [problem]}
            failed = {"status": "failed", "failed_at": int(time.time()), "errors": errors}
            self.shelf.put(self.shelf.get(batch_id) | failed)

    def _answer_all(self, batch_id: str) -> None:
        batch = self.shelf.get(batch_id)
        requests, problems = read_requests(self.shelf.content_of(batch["input_file_id"]), batch["endpoint"])
        if problems:
            errors = {"object": "list", "data": problems[:100]}
            self.shelf.put(batch | {"status": "failed", "failed_at": int(time.time()), "errors": errors})
            return
        counts = {"total": len(requests), "completed": 0, "failed": 0}
        batch |= {"status": "in_progress", "in_progress_at": int(time.time()), "request_counts": counts}
        self.shelf.put(batch)
        answered: list[dict[str, Any]] = []
        refused: list[dict[str, Any]] = []
        status = "completed"
        for index, request in enumerate(requests):
            if self._is_closed.is_set():
                return
            if batch_id in self._cancelled:
                status = "cancelled"
            elif time.time() > batch["created_at"] + self._window_seconds:
                status = "expired"
            if status != "completed":
                refused += [_not_carried_out(late, status) for late in requests[index:]]
                break
            code, body = self._respond(batch["endpoint"], request["body"])
            (answered if code == 200 else refused).append(_line(request["custom_id"], code, body))
            if (index + 1) % REQUESTS_PER_NOTE == 0:
                counts |= {"completed": len(answered), "failed": len(refused)}
                self.shelf.put(batch)
        counts |= {"completed": len(answered), "failed": len(refused)}
        batch |= {
            "status": status,
            "finalizing_at": int(time.time()),
            f"{status}_at": int(time.time()),
            "output_file_id": self._keep(answered, batch_id, "output"),
            "error_file_id": self._keep(refused, batch_id, "error"),
        }
        self.shelf.put(batch)

    def _keep(self, lines: list[dict[str, Any]], batch_id: str, kind: str) -> str | None:
        if not lines:
            return None
        content = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        return self.shelf.add_file(content, f"{batch_id}_{kind}.jsonl", "batch_output")["id"]


def read_requests(content: bytes, endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of an input file, and what is wrong with its lines, each with code, message and line.

    Args:
        content: the file.
        endpoint: where every request must be addressed.
    """
    requests: list[dict[str, Any]] = []
    problems: list[dict[str, Any]] = []
    seen: set[str] = set()

    def problem(code: str, message: str, line: int | None, param: str | None = None) -> None:
        problems.append({"code": code, "message": message, "param": param, "line": line})

    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            problem("invalid_json_line", "This line is no JSON object.", number)
            continue
        if not isinstance(request, dict) or not isinstance(request.get("body"), dict):
            problem("missing_required_parameter", "This line needs custom_id, method, url and body.", number, "body")
        elif not isinstance(request.get("custom_id"), str):
            problem("missing_required_parameter", "custom_id must be a text.", number, "custom_id")
        elif request["custom_id"] in seen:
            problem("duplicate_custom_id", f"custom_id {request['custom_id']!r} is used twice.", number, "custom_id")
        elif request.get("method") != "POST" or request.get("url") != endpoint:
            problem("invalid_url", f"method and url must be POST {endpoint}.", number, "url")
        else:
            seen.add(request["custom_id"])
            requests.append(request)
    if not requests and not problems:
        problem("empty_file", "The input file holds no request.", None)
    if len(requests) > MOST_REQUESTS:
        problem("too_many_tasks", f"The file holds {len(requests)} requests, allowed: {MOST_REQUESTS}.", None)
    return requests, problems


def _line(custom_id: str, status: int, body: dict[str, Any]) -> dict[str, Any]:
    response = {"status_code": status, "request_id": f"req_{secrets.token_hex(8)}", "body": body}
    return {"id": f"batch_req_{secrets.token_hex(8)}", "custom_id": custom_id, "response": response, "error": None}


def _not_carried_out(request: dict[str, Any], status: str) -> dict[str, Any]:
    error = {"code": f"batch_{status}", "message": f"This request was not carried out: the batch is {status}."}
    return {
        "id": f"batch_req_{secrets.token_hex(8)}",
        "custom_id": request["custom_id"],
        "response": None,
        "error": error,
    }
