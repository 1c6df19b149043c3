"""The ledger of teachers: every answer ever bought, in one SQLite file, so that nothing is paid for twice.

A request is known by its `custom_id` and by the digest of what was sent; an answer is committed before it is used, so
a killed run loses at most the requests that were under way. Rows are only added, never changed.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCHEMA = """
create table if not exists answers (
    custom_id text not null,
    request_digest text not null,
    model text not null,
    content text,
    refusal text,
    prompt_tokens integer not null,
    cached_tokens integer not null,
    completion_tokens integer not null,
    cost_usd real not null,
    latency_ms real not null,
    answered_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (custom_id, request_digest)
) without rowid;
"""


@dataclass(frozen=True)
class Answer:
    """What a teacher answered to one request, or why it did not."""

    content: str | None
    refusal: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    cost_usd: float
    latency_ms: float


def request_digest(messages: Sequence[Mapping[str, str]], seed: int) -> str:
    """Digest of what is sent; the same request has the same digest."""
    return hashlib.sha256(json.dumps([list(messages), seed], sort_keys=True).encode()).hexdigest()


class Ledger:
    """Open ledger; use as a context manager."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.execute("pragma synchronous = normal")
        self._connection.executescript(SCHEMA)
        self.spent_usd = float(self._connection.execute("select coalesce(sum(cost_usd), 0) from answers").fetchone()[0])

    def __enter__(self) -> "Ledger":
        """The ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the file."""
        self._connection.close()

    def find(self, custom_id: str, digest: str) -> Answer | None:
        """The answer that was bought for this request, if any."""
        row = self._connection.execute(
            "select content, refusal, prompt_tokens, cached_tokens, completion_tokens, cost_usd, latency_ms "
            "from answers where custom_id = ? and request_digest = ?",
            (custom_id, digest),
        ).fetchone()
        return Answer(*row) if row else None

    def add(self, custom_id: str, digest: str, model: str, answer: Answer) -> None:
        """Commits an answer; an answer that another run committed meanwhile stays."""
        self._connection.execute(
            "insert or ignore into answers (custom_id, request_digest, model, content, refusal, prompt_tokens, "
            "cached_tokens, completion_tokens, cost_usd, latency_ms) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                custom_id,
                digest,
                model,
                answer.content,
                answer.refusal,
                answer.prompt_tokens,
                answer.cached_tokens,
                answer.completion_tokens,
                answer.cost_usd,
                answer.latency_ms,
            ),
        )
        self.spent_usd += answer.cost_usd

    def __len__(self) -> int:
        return self._connection.execute("select count(*) from answers").fetchone()[0]
