"""Asking a teacher, importing recorded answers, rendering prompts: each against what its task allows.

- Throughput: the way of an elicitation (claims, pace, durable ledger) to a server in a process of its own that takes
  200 ms and lets 500 requests per second through, once with its limit announced and once found by its refusals.
- Import: 100,000 recorded rows read, coded, joined and validated, against plainly reading the file.
- Prompts: both messages of one request rendered, against 20,000 per second.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from assets.traces.asking import Asker, AskingOptions, Counts, Till
from assets.traces.completions import Answer, Request
from assets.traces.draws import Draw, Planned
from assets.traces.ledger import Ledger
from assets.traces.ledger_queue import LedgerQueue
from assets.traces.live import Live
from assets.traces.minds import Mind
from assets.traces.prompts import render_event
from assets.traces.recorded_answers.codebook import RecordedCodebookFile, find_recorded_codebooks
from assets.traces.recorded_answers.importing import import_file
from assets.traces.teachers import TeacherEndpoint, open_teacher
from benchmarks.limited_teacher import LATENCY_SECONDS, LIMIT_PER_SECOND
from benchmarks.timing import Row, median_seconds
from validation.contracts import CONTRACTS

NUM_REQUESTS = 8_000
SUSTAINED = 0.9
NUM_FREE = 4_000
NUM_PROMPTS, PROMPTS_PER_SECOND = 20_000, 20_000
MOST_TIMES_READING = 20.0
NUM_ROWS, NUM_ITEMS = 100_000, 50
BUDGET_USD = 1e9
PERSONA = "\n".join(f"- attribute {index}: a level of it (higher than 40 % of the population)" for index in range(14))
QUESTION = {
    "scenario_id": "a-tax",
    "name": "support",
    "item": None,
    "text": "Should the city charge drivers for entering the centre?",
    "options": ["support", "oppose", "unsure"],
    "option_scores": [1.0, -1.0, 0.0],
    "timestep_unit": "week",
}
EVENT = {
    "name": "announcement",
    "source_name": "the city hall",
    "source_type": "government",
    "channel": "broadcast",
    "framing": "a fair share",
    "text": "The mayor announces the charge and what it will pay for.",
    "valence": 0.4,
    "credibility": 0.7,
}


def measure() -> list[Row]:
    """The rows; what the server itself can do stands in the note of the first."""
    with _server() as port:
        free = asyncio.run(_free_rate(port))
        rows = [
            _throughput(port, path, name, f"the server alone answers {free:,.0f} per second without its limit")
            for path, name in (("v1", "limit announced"), ("silent", "limit found"))
        ]
    return [*rows, _import_row(), _prompts()]


def requests(num_requests: int) -> list[Request]:
    """Reactions of as many people, made as an elicitation makes them."""
    line = render_event(EVENT)
    mind = Mind([0.1] * 12, [0.5, 0.3, 0.2], "I am for it.", [(0.5, "week 1: a charge"), (0.4, "week 2: a complaint")])
    heard = [(other, "friend", "I am for it.") for other in range(3)]
    return [
        Draw(
            QUESTION,
            Planned(index, 3, 0, f"{index:064x}", f"{index:064x}", "a-teacher", "gpt-4o-mini"),
            5,
            [("announcement", line)],
            heard,
            mind,
            f"- person: {index}\n{PERSONA}",
        ).reaction_request()
        for index in range(num_requests)
    ]


def _throughput(port: int, path: str, name: str, note: str) -> Row:
    asked = requests(NUM_REQUESTS)
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder) / "ledger.sqlite") as ledger:
        began = time.process_time()
        moments = asyncio.run(_ask(ledger, f"http://127.0.0.1:{port}/{path}", asked))
        used = time.process_time() - began
        assert len(ledger) == NUM_REQUESTS
        (refused,) = ledger.commit(
            lambda connection: connection.execute("select count(*) from outcomes where reason is not null").fetchone()
        )[0]
    first, last = NUM_REQUESTS // 10, NUM_REQUESTS - NUM_REQUESTS // 10
    seconds = _moment(moments, last) - _moment(moments, first)
    return Row(
        f"asking a teacher of {1000 * LATENCY_SECONDS:.0f} ms and {LIMIT_PER_SECOND:.0f} requests per second, {name}",
        seconds,
        (last - first) / LIMIT_PER_SECOND,
        "its limit",
        1.0 / SUSTAINED,
        is_speedup=False,
        note=f"{(last - first) / seconds:.0f} answers per second over the middle 80 % of {NUM_REQUESTS:,}; {refused} "
        f"refusals; {1000 * used / NUM_REQUESTS:.2f} ms of processor time per request; {note}",
    )


async def _ask(ledger: Ledger, base_url: str, asked: list[Request]) -> list[tuple[float, int]]:
    """Asks for everything; moments and how many answers were committed by then."""
    counts = Counts()
    teacher = open_teacher(TeacherEndpoint(base_url, "gpt-4o-mini"), pl.DataFrame())
    moments: list[tuple[float, int]] = []

    async def watch() -> None:
        while True:
            moments.append((time.perf_counter(), counts.num_asked))
            await asyncio.sleep(0.02)

    async with LedgerQueue(ledger) as queue:
        asker = Asker(queue, Live(Till(teacher, queue, AskingOptions(budget_usd=BUDGET_USD), counts)), counts)
        watching = asyncio.create_task(watch())
        outcomes = await asker.ask(asked)
        watching.cancel()
        moments.append((time.perf_counter(), counts.num_asked))
        await teacher.client.close()
    assert all(isinstance(outcome, Answer) for outcome in outcomes)
    return moments


def _moment(moments: list[tuple[float, int]], number: int) -> float:
    """When the n-th answer was there, between two looks."""
    before, after = next(pair for pair in pairwise(moments) if pair[1][1] >= number)
    share = (number - before[1]) / max(1, after[1] - before[1])
    return before[0] + share * (after[0] - before[0])


async def _free_rate(port: int) -> float:
    """Requests per second that the server answers to eight connections when it neither waits nor refuses."""
    body = b"x" * 6_000
    head = f"POST /free/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n".encode()

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(NUM_FREE // 8):
            writer.write(head + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(8)))
    return NUM_FREE / (time.perf_counter() - start)


@contextmanager
def _server() -> Iterator[int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.limited_teacher"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait(10)


def _import_row() -> Row:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.parquet"
        codebook = next(found for found in find_recorded_codebooks(None) if found.spec.answers == "gss_2024_personas")
        people, personas = _write_recorded(path, codebook)

        def ours() -> None:
            answers, _ = import_file(pl.read_parquet(path), codebook, people, personas, "0" * 64)
            assert CONTRACTS["recorded_answers"].validate(answers).height == NUM_ROWS

        seconds = median_seconds({"ours": ours, "reading": lambda: pl.read_parquet(path)})
    return Row(
        f"importing and validating {NUM_ROWS:,} recorded rows",
        seconds["ours"],
        seconds["reading"],
        "reading the file",
        MOST_TIMES_READING,
        is_speedup=False,
        note=f"{NUM_ROWS / seconds['ours']:,.0f} rows per second: read, coded, joined with people, identified by "
        "sha256, held against the contract",
    )


def _write_recorded(path: Path, codebook: RecordedCodebookFile) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A file like those of the mirror, the people behind its personas, and the personas' texts."""
    spec, generator = codebook.spec, np.random.default_rng(4)
    items = list(spec.items)[:NUM_ITEMS]
    num_personas = NUM_ROWS // NUM_ITEMS
    persona_ids = np.arange(1, num_personas + 1)
    codes = [list(spec.items[name].options) for name in items]
    answers = np.array([[float(generator.choice(code)) for code in codes] for _ in persona_ids])
    pl.DataFrame(
        {
            "persona_id": np.repeat(persona_ids, NUM_ITEMS),
            "model": "a-model",
            "variable": items * num_personas,
            "run": pl.Series([1] * NUM_ROWS, dtype=pl.Int32),
            "answer": answers.ravel(),
            "prompt_tokens": generator.integers(200, 400, NUM_ROWS),
            "completion_tokens": generator.integers(1, 9, NUM_ROWS),
            "raw_response": [f"{code:.0f}" for code in answers.ravel()],
            "persona_var": False,
        }
    ).write_parquet(path)
    own = {name: [next(iter(item.options.values()))] * num_personas for name, item in spec.items.items() if item.item}
    ids = {"persona_id": persona_ids, "respondent_id": [f"{spec.respondents.survey}-{row}" for row in persona_ids]}
    texts = [f"{PERSONA}\n- person {number}" for number in persona_ids]
    return pl.DataFrame({**ids, **own}), pl.DataFrame({"persona_id": persona_ids, "persona": texts})


def _prompts() -> Row:
    seconds = []
    for _ in range(5):
        began = time.process_time()
        requests(NUM_PROMPTS)
        seconds.append(time.process_time() - began)
    ours = statistics.median(seconds)
    return Row(
        f"rendering {NUM_PROMPTS:,} prompts, in processor time of one thread",
        ours,
        NUM_PROMPTS / PROMPTS_PER_SECOND,
        f"{PROMPTS_PER_SECOND:,} per second",
        1.0,
        is_speedup=True,
        note=f"{NUM_PROMPTS / ours:,.0f} per second; both messages, with the trace row that they belong to",
    )
