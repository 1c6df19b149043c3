"""What an elicitation will ask and cost, before anything is sent; and what the ledger holds already."""

import sqlite3
from collections.abc import Collection, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from assets.traces.endpoint_encoder import embedding_requests
from assets.traces.ledger import LedgerError
from assets.traces.ledger_schema import VERSION
from assets.traces.prices import find_price


@dataclass(frozen=True)
class LedgerState:
    """What a ledger says of itself, read without taking part in it.

    Attributes:
        by_model: model, num_answers, num_refusals, tokens and cost_usd of everything answered.
        failures: custom_id, reason and num_attempts of requests without any answer whose attempts have all ended.
        open_batches: batch_key, teacher, model, remote_id and num_requests of batches that were not collected.
        spent_usd: what the servers' usage adds up to.
        unconfirmed_usd: most that answers which never came may have cost.
    """

    by_model: pl.DataFrame
    failures: pl.DataFrame
    open_batches: pl.DataFrame
    spent_usd: float
    unconfirmed_usd: float


def estimate(plan: pl.DataFrame, known: Collection[str]) -> pl.DataFrame:
    """Requests, tokens and cost per model and pass.

    Args:
        plan: rows of `elicitation_plan`.
        known: custom_ids that the ledger holds an answer to; nothing is asked for them again unless what a person meets
            has changed since.

    Returns:
        One row per model and pass: num_requests, num_known, and for those that are not known prompt_tokens,
        completion_tokens, live_usd and batch_usd.
    """
    is_new = ~pl.col("custom_id").is_in(list(known))
    totals = (
        plan.group_by("model", "elicitation_pass", maintain_order=True)
        .agg(
            pl.len().alias("num_requests"),
            (~is_new).sum().alias("num_known"),
            pl.col("estimated_prompt_tokens").filter(is_new).sum().alias("prompt_tokens"),
            pl.col("estimated_completion_tokens").filter(is_new).sum().alias("completion_tokens"),
        )
        .to_dicts()
    )
    for row in totals:
        price = find_price(row["model"])
        for name, is_batch in (("live_usd", False), ("batch_usd", True)):
            row[name] = price.cost_usd(row["prompt_tokens"], row["completion_tokens"], is_batch=is_batch)
    return pl.DataFrame(totals)


def estimate_embeddings(texts: Sequence[str], name: str, known: Collection[str]) -> dict[str, Any]:
    """Texts, tokens and cost of encoding texts at an endpoint: a row like those of `estimate`, with num_texts.

    Args:
        texts: wordings, repeated ones among them; each is sent once.
        name: name of the encoder, `model@host`.
        known: custom_ids that the ledger holds an answer to.
    """
    requests = {request.custom_id: request for request in embedding_requests(texts, name)}
    new = [request for custom_id, request in requests.items() if custom_id not in known]
    prompt_tokens = round(sum(request.prompt_tokens for request in new))
    return {
        "model": name,
        "num_texts": len(requests),
        "num_known": len(requests) - len(new),
        "prompt_tokens": prompt_tokens,
        "live_usd": find_price(name).cost_usd(prompt_tokens, 0),
    }


def known_requests(path: Path) -> set[str]:
    """custom_ids that the ledger holds an answer to; none where there is no ledger yet.

    Raises:
        LedgerError: the file is no ledger.
    """
    if not path.exists():
        return set()
    with closing(_connect(path)) as connection:
        return {custom_id for (custom_id,) in connection.execute("select custom_id from answers")}


def ledger_state(path: Path) -> LedgerState:
    """Reads what a ledger holds.

    Raises:
        LedgerError: there is no ledger, or it is of the first version.
    """
    if not path.exists():
        raise LedgerError(f"There is no ledger at {path} yet: nothing was asked. `populace traces estimate` plans it.")
    with closing(_connect(path)) as connection:
        if connection.execute("pragma user_version").fetchone()[0] != VERSION:
            raise LedgerError(f"The ledger {path} is of an older version; the next run brings it up to date.")
        spent, unconfirmed = connection.execute(
            "select coalesce(sum(cost_usd), 0), coalesce(sum(unconfirmed_usd), 0) from outcomes"
        ).fetchone()
        return LedgerState(
            by_model=_frame(
                connection,
                "select model, count(*) as num_answers, "
                "sum(coalesce(refusal, '') <> '' or content is null or finish_reason is 'content_filter') "
                "as num_refusals, "
                "sum(prompt_tokens) as prompt_tokens, sum(cached_tokens) as cached_tokens, "
                "sum(completion_tokens) as completion_tokens, sum(cost_usd) as cost_usd from answers group by model",
            ),
            failures=_frame(connection, FAILURES),
            open_batches=_frame(
                connection,
                "select batch_key, teacher, model, max(remote_id) as remote_id, "
                "(select count(*) from attempts where attempts.batch_key = batches.batch_key) as num_requests "
                "from batches join batch_events using (batch_key) "
                "group by batch_key having max(event = 'collected') = 0",
            ),
            spent_usd=spent,
            unconfirmed_usd=unconfirmed,
        )


FAILURES = """
select custom_id, reason, num_attempts from (
    select custom_id, request_digest, reason, max(attempt_id), count(*) as num_attempts, count(outcome_id) as num_ended
    from attempts left join outcomes using (attempt_id) group by custom_id, request_digest
) as tried left join answers using (custom_id, request_digest)
where answers.model is null and num_ended = num_attempts order by custom_id
"""


def _connect(path: Path) -> sqlite3.Connection:
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        connection.execute("select count(*) from answers")
        return connection
    except sqlite3.Error as error:
        raise LedgerError(f"{path} cannot be read as a ledger ({error}). Move it away, or restore it.") from error


def _frame(connection: sqlite3.Connection, query: str) -> pl.DataFrame:
    cursor = connection.execute(query)
    return pl.DataFrame(cursor.fetchall(), schema=[name for name, *_ in cursor.description], orient="row")
