"""An OpenAI-compatible server on loopback that misbehaves on purpose and counts the usage of everything it generates.

It speaks HTTP over plain sockets, because well-behaved frameworks cannot break off in the middle of a body. Answers
depend on the messages and the seed alone, so that whoever asks the same is told the same.
"""

import asyncio
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from validation.channels import channel_names

NUM_CHANNELS = len(channel_names())


@dataclass
class Generation:
    """One completion that the server generated and counts."""

    digest: str
    usage: dict[str, Any]
    is_batch: bool


@dataclass
class Batch:
    """A batch as the server keeps it; `polls` counts how often it was looked at."""

    batch_id: str
    file_id: str
    metadata: dict[str, str]
    status: str = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    polls: int = 0
    num_lines: int = 0


@dataclass
class FaultyTeacher:
    """Starts on a free port when entered.

    Attributes:
        faults: share of chat requests per fault: 429, 500, reset, never, broken_json, no_choices, malformed,
            wrong_schema, truncated, refusal.
        first_only: faults that meet only the first request with some messages and seed, so that a repair succeeds.
        latency_seconds: time that an answer takes.
        headers: headers of every reply.
        options: options of the question, for well-formed answers.
        honours_keys: whether a repeated Idempotency-Key gets the answer that was generated for it, uncounted.
        expire: number of batches that expire when half of their lines are done.
        on_batch: called when a batch has been created, before the reply.
        polls_needed: how often a batch must be looked at before it ends.
    """

    faults: dict[str, float] = field(default_factory=dict)
    latency_seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ("for", "against")
    honours_keys: bool = True
    expire: int = 0
    on_batch: Callable[[], None] = lambda: None
    polls_needed: int = 2
    retry_after: str | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        self.generations: list[Generation] = []
        self.delivered: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.keys: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Batch] = {}
        self.most_in_flight = self.in_flight = 0
        self._random = random.Random(self.seed)
        self._ready = threading.Event()

    def __enter__(self) -> "FaultyTeacher":
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def counted(self) -> Counter[str]:
        """How often the usage of each request was counted."""
        return Counter(generation.digest for generation in self.generations)

    def cost_usd(self, cost: Callable[..., float]) -> float:
        """Price of all usage that was counted; `cost` is `Price.cost_usd`."""
        return sum(
            cost(
                one.usage["prompt_tokens"],
                one.usage["completion_tokens"],
                one.usage["prompt_tokens_details"]["cached_tokens"],
                is_batch=one.is_batch,
            )
            for one in self.generations
        )

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024, limit=2**26)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head[1:] if line)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                if path == "/v1/chat/completions":
                    await self._chat(writer, headers, json.loads(body))
                else:
                    status, content = self._other(method, path.split("?")[0], headers, body)
                    self._reply(writer, status, content)
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _reply(self, writer: asyncio.StreamWriter, status: int, content: bytes, cut: int | None = None) -> None:
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-length: {len(content)}"]
        lines += ["content-type: application/json", *(f"{name}: {value}" for name, value in self.headers.items())]
        if status == 429 and self.retry_after:
            lines.append(self.retry_after)
        writer.write("\r\n".join([*lines, "", ""]).encode() + content[:cut])

    async def _chat(self, writer: asyncio.StreamWriter, headers: dict[str, str], body: dict[str, Any]) -> None:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_seconds)
            digest = digest_of(body)
            self.seen[digest] += 1
            fault = self._fault()
            self.statuses[fault or "good"] += 1
            if fault in ("429", "500"):
                self._reply(writer, int(fault), b'{"error": {"message": "not now", "code": "busy"}}')
            else:
                key = headers.get("idempotency-key", "")
                content = self.keys.get(key) if self.honours_keys else None
                if content is None:
                    content = json.dumps(self._generate(body, fault, is_batch=False)).encode()
                    if fault == "broken_json":
                        content = content[: len(content) // 2]
                    self.keys[key] = content
                if fault == "never":
                    await asyncio.sleep(30)
                if fault == "reset":
                    self._reply(writer, 200, content, cut=len(content) // 2)
                    await writer.drain()
                    writer.transport.abort()
                    raise ConnectionError
                self.delivered[digest] += 1
                self._reply(writer, 200, content)
            await writer.drain()
        finally:
            self.in_flight -= 1

    def _fault(self) -> str | None:
        draw = self._random.random()
        for fault, share in self.faults.items():
            if draw < share:
                return fault
            draw -= share
        return None

    def _generate(self, body: dict[str, Any], fault: str | None, *, is_batch: bool) -> dict[str, Any]:
        """A completion, whose usage is counted whatever it is worth."""
        digest = digest_of(body)
        number = int(digest[:8], 16)
        prompt_tokens = sum(len(message["content"]) for message in body["messages"]) // 4
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": 50 + number % 50,
            "prompt_tokens_details": {"cached_tokens": (number % 3) * (prompt_tokens // 4)},
        }
        self.generations.append(Generation(digest, usage, is_batch))
        message: dict[str, Any] = {"role": "assistant", "content": self._content(body, number), "refusal": None}
        finish_reason = "stop"
        if fault == "refusal":
            message |= {"content": None, "refusal": "I would rather not."}
        elif fault == "malformed":
            message["content"] = "I think they are for it."
        elif fault == "wrong_schema":
            message["content"] = json.dumps({"verdict": "for"})
        elif fault == "truncated":
            message["content"], finish_reason = message["content"][:40], "length"
        choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
        return {"object": "chat.completion", "choices": [] if fault == "no_choices" else choices, "usage": usage}

    def _content(self, body: dict[str, Any], number: int) -> str:
        if "response_format" not in body:
            return f"Thinks: number {number} crosses my mind.\nSays: I am {self.options[number % 2]} it."
        share = (number % 81 + 10) / 100
        return json.dumps(
            {
                "channels": [((number >> index) % 200) / 100 - 1 for index in range(NUM_CHANNELS)],
                "channel_confidence": [0.5] * NUM_CHANNELS,
                "channel_evidence": "tone",
                "option_probabilities": [share, 1 - share],
                "option": self.options[0] if share >= 0.5 else self.options[1],
                "conviction": share,
                "private_stance": 2 * share - 1,
                "public_stance": share - 0.5,
                "statement": f"I am {self.options[number % 2]} it.",
                "will_share": number % 3 > 0,
                "attention_events": 0.5,
                "attention_peers": 0.3,
                "attention_memory": 0.2,
                "memory_write": f"thought {number}",
                "memory_salience": share,
                "trust_deltas": [],
                "rationale": "because",
            }
        )

    def _other(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Files and batches."""
        parts = path.removeprefix("/v1/").split("/")
        match method, *parts:
            case "POST", "files":
                boundary = headers["content-type"].split("boundary=")[1].strip('"').encode()
                (content,) = (
                    part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
                    for part in body.split(b"--" + boundary)
                    if b'name="file"' in part
                )
                return 200, json.dumps(self._file(content)).encode()
            case "GET", "files", file_id, "content":
                return 200, self.files[file_id]
            case "POST", "batches":
                asked = json.loads(body)
                batch = Batch(f"batch-{len(self.batches)}", asked["input_file_id"], asked.get("metadata") or {})
                batch.num_lines = len(self.files[batch.file_id].splitlines())
                self.batches[batch.batch_id] = batch
                self.on_batch()
                return 200, json.dumps(self._shown(batch)).encode()
            case "GET", "batches":
                found = [self._shown(batch) for batch in reversed(self.batches.values())]
                return 200, json.dumps({"object": "list", "data": found, "has_more": False}).encode()
            case "GET", "batches", batch_id:
                batch = self.batches[batch_id]
                batch.polls += 1
                batch.status = "in_progress" if batch.status == "validating" else batch.status
                if batch.polls >= self.polls_needed and batch.output_file_id is None:
                    self._finish(batch)
                return 200, json.dumps(self._shown(batch)).encode()
        return 404, b'{"error": {"message": "no such page"}}'

    def _file(self, content: bytes) -> dict[str, Any]:
        file_id = f"file-{len(self.files)}"
        self.files[file_id] = content
        return {"id": file_id, "object": "file", "bytes": len(content), "created_at": 0, "filename": "f",
                "purpose": "batch", "status": "processed"}  # fmt: skip

    def _finish(self, batch: Batch) -> None:
        lines = [json.loads(line) for line in self.files[batch.file_id].splitlines()]
        num_done = len(lines)
        batch.status = "completed"
        if self.expire:
            self.expire -= 1
            num_done, batch.status = len(lines) // 2, "expired"
        done = []
        for line in self._random.sample(lines[:num_done], num_done):
            fault = self._fault()
            self.seen[digest_of(line["body"])] += 1
            if fault == "500":
                response = {"status_code": 500, "body": {"error": {"message": "not now"}}}
            else:
                self.delivered[digest_of(line["body"])] += 1
                response = {"status_code": 200, "body": self._generate(line["body"], fault, is_batch=True)}
            done.append({"custom_id": line["custom_id"], "response": response, "error": None})
        late = {"code": "batch_expired", "message": "This request could not be executed in time."}
        left = [{"custom_id": line["custom_id"], "response": None, "error": late} for line in lines[num_done:]]
        batch.output_file_id = self._file("\n".join(json.dumps(line) for line in done).encode())["id"]
        if left:
            batch.error_file_id = self._file("\n".join(json.dumps(line) for line in left).encode())["id"]

    def _shown(self, batch: Batch) -> dict[str, Any]:
        return {
            "id": batch.batch_id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": 0,
            "input_file_id": batch.file_id,
            "status": batch.status,
            "output_file_id": batch.output_file_id,
            "error_file_id": batch.error_file_id,
            "metadata": batch.metadata,
            "request_counts": {"total": batch.num_lines, "completed": 0, "failed": 0},
        }


def digest_of(body: dict[str, Any]) -> str:
    """What makes two requests the same: messages and seed."""
    return hashlib.sha256(json.dumps([body["messages"], body["seed"]], sort_keys=True).encode()).hexdigest()
