"""Batches that somebody runs by hand: what a plan still asks is written as a file, and the answers come back as one.

Timesteps follow one another, so each export holds one pass of one timestep; its answers are imported before the next.
The answers enter the ledger as those of any batch, so that a run after them asks nothing again.
"""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import polars as pl

from assets.traces.asking import AskingOptions, ElicitationError
from assets.traces.batch_lines import read_outcome, request_line
from assets.traces.completions import Answer, Outcome, Request
from assets.traces.elicitation import run_elicitation
from assets.traces.ledger import Attempt, Busy, Ledger, LedgerError, NoRoom, Operation
from assets.traces.ledger_batches import note_settled, open_batch_attempt
from assets.traces.prices import Price, find_price
from assets.traces.teachers import Teacher

REPAIR = "/repair"


class OutsideBatchError(ElicitationError):
    """A file does not belong to the plan, or is none of the Batch API; names file, line and what is allowed."""


class _Exported(Exception):
    """Ends an elicitation once its next requests are known."""

    def __init__(self, requests: Sequence[Request]) -> None:
        super().__init__()
        self.requests = requests


class _Exporting:
    """A transport that sends nothing."""

    async def answers(self, requests: Sequence[Request]) -> list[Outcome]:
        raise _Exported(requests)


@dataclass(frozen=True)
class ImportedBatch:
    """Lines by what came of them."""

    num_answers: int
    num_failures: int
    num_known: int
    cost_usd: float


def export_requests(
    plan: pl.DataFrame,
    scenarios: pl.DataFrame,
    agents: pl.DataFrame,
    ties: pl.DataFrame,
    media_sources: pl.DataFrame,
    *,
    ledger_path: Path,
    options: AskingOptions,
    seed: int,
    target: Path,
) -> int:
    """Writes the next requests of a plan as an input file of the Batch API; returns how many, 0 when all are answered.

    Requests of a batch that is still at the server are left out. Tables are those of `run_elicitation`.

    Raises:
        OutsideBatchError: every request that comes next is in a batch at the server.
    """
    model = str(plan["model"][0])
    client = openai.AsyncOpenAI(api_key="none", base_url="http://nowhere.invalid/v1")
    teacher = Teacher(client, str(plan["teacher"][0]), model)
    try:
        run_elicitation(
            plan, scenarios, agents, ties, media_sources,
            teacher=teacher, ledger_path=ledger_path, options=options, seed=seed, transport=_Exporting(),
        )  # fmt: skip
        return 0
    except _Exported as exported:
        with Ledger(ledger_path) as ledger:
            taken = [ledger.commit(open_batch_attempt(request))[0] for request in exported.requests]
        requests = [request for request, attempt in zip(exported.requests, taken, strict=True) if attempt is None]
    if not requests:
        raise OutsideBatchError(
            "Every request that comes next is in a batch at the server. `populace run` collects it; then export again."
        )
    lines = [request_line(request, model, options.most_completion_tokens) for request in requests]
    staged = target.with_name(f"{target.name}.part")
    staged.write_bytes(b"\n".join(lines) + b"\n")
    staged.replace(target)
    return len(requests)


def import_batch(
    ledger_path: Path, plan: pl.DataFrame, requests_path: Path, output_paths: Sequence[Path]
) -> ImportedBatch:
    """Puts the answers of a batch that was run by hand into the ledger: all lines of all files, or none.

    What was paid counts against the budget, and is kept even where it passes it.

    Args:
        ledger_path: the ledger.
        plan: rows of `elicitation_plan`.
        requests_path: the input file of the batch, as `export_requests` wrote it.
        output_paths: its output and error files.

    Raises:
        OutsideBatchError: a file or line is not what it should be.
        LedgerError: the ledger cannot be written.
    """
    model = str(plan["model"][0])
    requests = _read_requests(requests_path, set(plan["custom_id"]), model)
    price = find_price(model)
    found: dict[str, Mapping[str, Any]] = {}
    for path in output_paths:
        for place, line in _lines(path):
            custom_id = str(line["custom_id"])
            if custom_id not in requests:
                raise OutsideBatchError(
                    f"{place}: custom_id {custom_id!r} is not among the requests of {requests_path}. Give the file "
                    "that this batch was made from."
                )
            if custom_id in found:
                raise OutsideBatchError(f"{place}: custom_id {custom_id!r} comes a second time. Leave one file out.")
            found[custom_id] = line
    with Ledger(ledger_path) as ledger:
        ledger.close_abandoned()
        operations = [_settle(ledger, requests[custom_id], line, model, price) for custom_id, line in found.items()]
        *settled, _ = ledger.commit(*operations, note_settled(ledger))
    kinds = [kind for kind, _ in settled]
    return ImportedBatch(
        kinds.count("answer"), kinds.count("failure"), kinds.count("known"), sum(cost for _, cost in settled)
    )


def _settle(
    ledger: Ledger, request: Request, line: Mapping[str, Any], model: str, price: Price
) -> Operation[tuple[str, float]]:
    """Operation that keeps a line as the outcome of its request: what became of it, and its cost."""

    def operation(connection: sqlite3.Connection) -> tuple[str, float]:
        claim = ledger.claim(request, model, 0.0, float("inf"))(connection)
        if isinstance(claim, Answer):
            return "known", 0.0
        if isinstance(claim, NoRoom):
            raise LedgerError(claim.message)
        attempt_id = claim.attempt_id if isinstance(claim, Attempt) else None
        if isinstance(claim, Busy):
            attempt_id = open_batch_attempt(request)(connection)
        if attempt_id is None:
            raise OutsideBatchError(
                f"Another process is asking {request.custom_id[:16]}… right now. Import when it has ended."
            )
        outcome, usage = read_outcome(line, price, None)
        if isinstance(outcome, Answer):
            ledger.answer(attempt_id, outcome)(connection)
            return "answer", usage.cost_usd
        ledger.fail(attempt_id, outcome.reason, usage=usage)(connection)
        return "failure", usage.cost_usd

    return operation


def _read_requests(path: Path, planned: Collection[str], model: str) -> dict[str, Request]:
    """The requests of an input file, by custom_id; each must belong to the plan."""
    found = {}
    for place, line in _lines(path):
        custom_id, body = str(line["custom_id"]), line.get("body") or {}
        if custom_id.removesuffix(REPAIR) not in planned:
            raise OutsideBatchError(
                f"{place}: custom_id {custom_id!r} is not in elicitation_plan. Allowed: files that `populace traces "
                "export` wrote for this plan; answers to other questions are imported with --codebook."
            )
        try:
            request = Request(custom_id, body["messages"], int(body["seed"]), "response_format" in body)
            asked_model = str(body["model"])
        except (LookupError, TypeError, ValueError) as error:
            raise OutsideBatchError(f"{place}: body lacks messages, seed or model. Give the exported file.") from error
        if asked_model != model:
            raise OutsideBatchError(f"{place}: model is {asked_model!r}, allowed: {model!r}, the model of the plan.")
        found[custom_id] = request
    return found


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OutsideBatchError(f"{path} cannot be read ({error}). Nothing was imported.") from error
    found = []
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        place = f"{path}:{number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise OutsideBatchError(f"{place}: this line is no JSON ({error}). Nothing was imported.") from error
        if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
            raise OutsideBatchError(f"{place}: field custom_id is missing or no text. Nothing was imported.")
        found.append((place, line))
    return found
