"""A teacher for throughput: answers after 200 ms, lets 500 requests per second through, refuses the rest with 429.

Run as a process of its own: `python -m benchmarks.limited_teacher`; prints its port. It answers every request alike and
parses no JSON, so that it is not what is measured. Paths: `/v1/chat/completions` announces its limit in headers,
`/silent/chat/completions` does not, `/free/chat/completions` neither waits nor refuses.
"""

import asyncio
import json
import sys

import uvloop

LATENCY_SECONDS = 0.2
LIMIT_PER_SECOND = 500.0
BURST = 100.0
CONTENT = "Thinks: it is a fair share of what everybody owes. " * 12 + "\nSays: I am for it."
BODY = json.dumps(
    {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": CONTENT, "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1500, "completion_tokens": 150, "prompt_tokens_details": {"cached_tokens": 0}},
    }
).encode()
REFUSAL = b'{"error": {"message": "too fast", "code": "rate_limit_exceeded"}}'


class Bucket:
    """The limit, as a token bucket."""

    level = BURST
    updated_at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more request is let through."""
        self.level = min(BURST, self.level + LIMIT_PER_SECOND * (now - self.updated_at))
        self.updated_at = now
        if self.level < 1.0:
            return False
        self.level -= 1.0
        return True


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests on it come one after the other."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._received = bytearray()
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps where to answer."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers whole requests."""
        self._received += data
        while (end := self._received.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._received[:end]).lower()
            at = head.find(b"content-length:")
            size = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._received) < end + 4 + size:
                return
            del self._received[: end + 4 + size]
            self._answer(head.split(b" ", 2)[1])

    def _answer(self, path: bytes) -> None:
        if path.startswith(b"/free"):
            self._write(_reply(b"200 OK", BODY))
            return
        if self._bucket.take(self._loop.time()):
            announced = b""
            if path.startswith(b"/v1"):
                left = int(self._bucket.level)
                announced = (
                    f"x-ratelimit-limit-requests: {BURST:.0f}\r\nx-ratelimit-remaining-requests: {left}\r\n"
                    f"x-ratelimit-reset-requests: {1000 * (BURST - left) / LIMIT_PER_SECOND:.0f}ms\r\n"
                ).encode()
            self._loop.call_later(LATENCY_SECONDS, self._write, _reply(b"200 OK", BODY, announced))
        else:
            wait = f"retry-after-ms: {1000 * (1.0 - self._bucket.level) / LIMIT_PER_SECOND:.0f}\r\n"
            self._write(_reply(b"429 Too Many Requests", REFUSAL, wait.encode()))

    def _write(self, content: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(content)  # pyright: ignore[reportAttributeAccessIssue]


def _reply(status: bytes, body: bytes, headers: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s\r\n%s" % (
        status, len(body), headers, body,
    )  # fmt: skip


async def main() -> None:
    """Serves on a free port of loopback until the standard input closes."""
    bucket = Bucket()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(bucket), "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
