"""Reads the output of the Batch API as a table of answers: one row per line, in columns that a codebook can name.

Only the form is read here; what the answers mean is the codebook's business. Lines without an answer stay, as rows
without one, so that they become failed answers and not missing ones.
"""

import json
import re
from pathlib import Path
from typing import Any

import polars as pl

from assets.sources.errors import CodebookError

SUFFIX = ".jsonl"
REFUSAL = "refusal: "
"""Begins the raw answer of a line whose message is a refusal."""
COLUMNS = ("persona", "item", "draw", "model", "answer", "raw_answer", "prompt_tokens", "completion_tokens")
"""Columns of the table; `draw` is 0 where the pattern has no group of that name."""


def read_batch_output(path: Path, pattern: re.Pattern[str], codes_of: dict[str, dict[str, str]]) -> pl.DataFrame:
    """The lines of an output or error file as rows.

    Args:
        path: file of the Batch API, one JSON object per line.
        pattern: groups persona and item, and draw where there are several, in every custom_id.
        codes_of: per item, the code of each answer that can be read, by its lower-case text.

    Returns:
        Columns `COLUMNS`; `answer` is the code of the content, null where it is none.

    Raises:
        CodebookError: a line is no object of the Batch API, or its custom_id does not fit; names file, line and field.
    """
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            rows.append(_row(f"{path}:{number}", line, pattern, codes_of))
    numbers = ("persona", "draw", "prompt_tokens", "completion_tokens")
    schema: dict[str, type[pl.DataType]] = {name: pl.Int64 if name in numbers else pl.String for name in COLUMNS}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _row(
    place: str, line: str, pattern: re.Pattern[str], codes_of: dict[str, dict[str, str]]
) -> tuple[str | int | None, ...]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CodebookError(
            f"{place}: this line is no JSON ({error}). Import the file as the Batch API gave it."
        ) from error
    if not isinstance(entry, dict) or not isinstance(entry.get("custom_id"), str):
        raise CodebookError(
            f"{place}: field custom_id is missing or no text. Import the file as the Batch API gave it."
        )
    found = pattern.fullmatch(entry["custom_id"])
    if not found:
        raise CodebookError(
            f"{place}: custom_id {entry['custom_id']!r} does not fit the codebook's pattern {pattern.pattern!r}. "
            "Correct batch.custom_id in the codebook."
        )
    groups = found.groupdict()
    if not str(groups["persona"]).isdigit() or not str(groups.get("draw") or "0").isdigit():
        raise CodebookError(f"{place}: persona and draw in custom_id {entry['custom_id']!r} must be whole numbers.")
    response = entry.get("response") or {}
    body = response.get("body") if isinstance(response, dict) else None
    body = body if isinstance(body, dict) else {}
    message = _message(place, body) if response.get("status_code") == 200 else {}
    content = message.get("content")
    refusal = message.get("refusal")
    raw = f"{REFUSAL}{refusal}" if refusal else content or f"error: {_reason(entry, body)}"
    usage = body.get("usage") or {}
    code = codes_of.get(groups["item"], {}).get(_plain(content)) if isinstance(content, str) else None
    model = body.get("model")
    return (
        int(groups["persona"]),
        groups["item"],
        int(groups.get("draw") or 0),
        str(model) if model else None,
        code,
        str(raw),
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
    )


def _message(place: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        return body["choices"][0]["message"]
    except (LookupError, TypeError) as error:
        raise CodebookError(f"{place}: field response.body.choices[0].message is missing.") from error


def _reason(entry: dict[str, Any], body: dict[str, Any]) -> str:
    for error in (entry.get("error"), body.get("error")):
        if isinstance(error, dict):
            return str(error.get("code") or error.get("message") or "unknown")[:200]
    return "no answer"


def plain_codes(options: dict[str, str]) -> dict[str, str]:
    """Codes by the texts that mean them: the code itself and the label, in plain letters.

    Args:
        options: label by code, as written.
    """
    return {_plain(code): code for code in options} | {_plain(label): code for code, label in options.items()}


def _plain(text: str) -> str:
    return " ".join(text.lower().replace("_", " ").strip(" \t\n.\"'`").split())
