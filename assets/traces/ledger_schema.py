"""Tables of the ledger. Rows are only added: triggers refuse every change and every removal.

A request is *open* while one of its attempts has no outcome. What an attempt cost stands in its outcome, so that usage
of malformed, refused and unreadable replies counts as much as that of good ones.
"""

import sqlite3

TABLES = """
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
    latency_ms real,
    answered_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    finish_reason text,
    primary key (custom_id, request_digest)
) without rowid;

create table if not exists texts (
    digest text primary key,
    deflated blob not null
) without rowid;

create table if not exists requests (
    custom_id text not null,
    request_digest text not null,
    model text not null,
    messages text not null,
    seed integer not null,
    is_json integer not null,
    primary key (custom_id, request_digest)
) without rowid;

create table if not exists batches (
    batch_key text primary key,
    teacher text not null,
    model text not null
) without rowid;

create table if not exists batch_events (
    event_id integer primary key autoincrement,
    batch_key text not null references batches,
    owner text not null,
    event text not null,
    remote_id text,
    happened_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index if not exists events_of_batch on batch_events (batch_key);

create table if not exists attempts (
    attempt_id integer primary key autoincrement,
    custom_id text not null,
    request_digest text not null,
    model text not null,
    owner text not null,
    batch_key text references batches,
    expected_usd real not null,
    begun_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index if not exists attempts_of_request on attempts (custom_id, request_digest);
create index if not exists attempts_of_batch on attempts (batch_key) where batch_key is not null;

create table if not exists outcomes (
    outcome_id integer primary key autoincrement,
    attempt_id integer not null unique references attempts,
    reason text,
    is_unconfirmed integer not null,
    prompt_tokens integer not null,
    cached_tokens integer not null,
    completion_tokens integer not null,
    cost_usd real not null,
    unconfirmed_usd real not null,
    ended_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
"""
NAMES = ("answers", "texts", "requests", "batches", "batch_events", "attempts", "outcomes")
OPEN_ATTEMPTS = "attempts left join outcomes using (attempt_id) where outcome_id is null"
"""From and where clause of attempts that nothing is known of yet."""
VERSION = 2


def create_tables(connection: sqlite3.Connection) -> None:
    """Makes the tables; a ledger of the first version keeps its answers, and their cost counts.

    Must be called inside a transaction.
    """
    version = connection.execute("pragma user_version").fetchone()[0]
    if version == VERSION:
        return
    columns = [row[1] for row in connection.execute("pragma table_info(answers)")]
    is_first_version = bool(columns) and "finish_reason" not in columns
    if is_first_version:
        connection.execute("alter table answers rename to first_answers")
    for statement in TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    if is_first_version:
        connection.execute("insert into answers select *, null from first_answers")
        connection.execute("drop table first_answers")
        connection.execute(
            "insert into attempts (custom_id, request_digest, model, owner, expected_usd, begun_at) "
            "select custom_id, request_digest, model, 'first version', cost_usd, answered_at from answers"
        )
        connection.execute(
            "insert into outcomes (attempt_id, is_unconfirmed, prompt_tokens, cached_tokens, completion_tokens, "
            "cost_usd, unconfirmed_usd, ended_at) select attempt_id, 0, prompt_tokens, cached_tokens, "
            "completion_tokens, cost_usd, 0, answered_at from attempts join answers using (custom_id, request_digest)"
        )
    for name in NAMES:
        for action in ("update", "delete"):
            connection.execute(
                f"create trigger if not exists no_{action}_of_{name} before {action} on {name} "
                f"begin select raise(abort, 'the ledger is append-only'); end"
            )
    connection.execute(f"pragma user_version = {VERSION}")
