"""`populace teacher serve` as a process of its own, and the `openai` client of anybody pointed at it."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openai
import polars as pl
import pytest
from pydantic import BaseModel

from assets.traces.prompts import Step, render_step, render_system
from assets.traces.text_encoder import TEXT_ENCODER, encode_texts
from orchestration.settings import PROJECT_ROOT
from orchestration.table_store import TableStore
from tests.conftest import clean_environment
from validation.attributes import ATTRIBUTES

QUESTION = {
    "scenario_id": "s",
    "name": "tax",
    "item": "tax",
    "text": "A tax?",
    "options": ["for", "against"],
    "option_scores": [1.0, -1.0],
    "timestep_unit": "week",
}
MESSAGES = [
    {"role": "system", "content": render_system(QUESTION, "classification")},
    {"role": "user", "content": render_step("- person: 7\n- age: 41\n- political views: liberal", "week", Step(0), [])},
]


class Classification(BaseModel):
    """A part of the answer's schema, as a user of `.parse` might want it."""

    option: str
    option_probabilities: list[float]
    rationale: str


@dataclass
class Served:
    """A server's process and a client of it."""

    process: subprocess.Popen[str]
    port: int
    client: openai.OpenAI
    model: str


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("teacher-home")
    write_respondents(home)
    port = free_port()
    process = start(home, port)
    client = openai.OpenAI(api_key="any", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0)
    yield Served(process, port, client, wait_for_model(process, client))
    process.send_signal(signal.SIGINT)
    process.wait(15)


def write_respondents(home: Path) -> None:
    """A table of 300 respondents as a run leaves it, so that the server has something small to be estimated on."""
    rng = np.random.default_rng(1)
    respondents = pl.DataFrame(
        {
            "respondent_id": [f"made-2016-{index}" for index in range(300)],
            "survey": "made",
            "wave": pl.Series([2016] * 300, dtype=pl.Int32),
            "design_weight": 1.0,
            "age": pl.Series(rng.integers(18, 90, 300), dtype=pl.Int32),
            **{attribute.name: rng.choice(attribute.levels, 300) for attribute in ATTRIBUTES},
            "item_tax": rng.choice(["for", "against"], 300),
        }
    )
    TableStore(home / "tables").write("survey_respondents", respondents, run_id="made")


def start(home: Path, port: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["populace", "teacher", "serve", "--port", str(port)],
        cwd=PROJECT_ROOT,
        env=clean_environment(home) | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for_model(process: subprocess.Popen[str], client: openai.OpenAI) -> str:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return client.models.list().data[0].id
        except openai.APIConnectionError:
            time.sleep(0.1)
    process.kill()
    raise AssertionError(f"the server did not start: {process.communicate()[0]}")


def test_chat_completions_by_create_parse_and_stream(served: Served) -> None:
    created = served.client.chat.completions.create(model=served.model, messages=MESSAGES, seed=3)  # pyright: ignore
    answer = json.loads(created.choices[0].message.content or "")
    assert created.model == served.model
    parsed = served.client.chat.completions.parse(
        model="populace-embedded-teacher",
        messages=MESSAGES,  # pyright: ignore
        seed=3,
        response_format=Classification,
    )
    found = parsed.choices[0].message.parsed
    assert parsed.model == served.model, "the family's name stands for its current version"
    assert found is not None
    assert found.model_dump() == {name: answer[name] for name in Classification.model_fields}
    stream = served.client.chat.completions.create(model=served.model, messages=MESSAGES, seed=3, stream=True)  # pyright: ignore
    text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)  # pyright: ignore
    assert text == created.choices[0].message.content


def test_what_it_cannot_do_is_refused_and_explained(served: Served) -> None:
    class Poem(BaseModel):
        verse: str

    with pytest.raises(openai.NotFoundError, match="not served here"):
        served.client.chat.completions.create(model="gpt-4o", messages=MESSAGES)  # pyright: ignore
    with pytest.raises(openai.BadRequestError, match="cannot fill the fields verse"):
        served.client.chat.completions.parse(model=served.model, messages=MESSAGES, response_format=Poem)  # pyright: ignore
    with pytest.raises(openai.BadRequestError, match="Question"):
        served.client.chat.completions.create(model=served.model, messages=[{"role": "user", "content": "Hello!"}] * 2)  # pyright: ignore
    with pytest.raises(openai.BadRequestError, match="dimensions"):
        served.client.embeddings.create(model=TEXT_ENCODER, input="a", dimensions=8)


@pytest.mark.parametrize("asked", [{}, {"encoding_format": "float"}], ids=["base64 by default", "float"])
def test_embeddings_are_those_of_the_local_encoder(served: Served, asked: dict[str, str]) -> None:
    texts = ["Should the town charge?", "yes"]
    answer = served.client.embeddings.create(model=TEXT_ENCODER, input=texts, **asked)  # pyright: ignore
    np.testing.assert_allclose([item.embedding for item in answer.data], encode_texts(texts), atol=1e-7)


def test_a_batch_gives_the_same_answers_as_live_requests(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "in.jsonl"
    bodies = [{"model": served.model, "messages": MESSAGES, "seed": seed} for seed in range(5)]
    bodies.append({"model": "another", "messages": MESSAGES})
    file.write_text(
        "".join(
            json.dumps({"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": body}) + "\n"
            for n, body in enumerate(bodies)
        ),
        encoding="utf-8",
    )
    uploaded = served.client.files.create(file=file, purpose="batch")
    assert served.client.files.content(uploaded.id).content == file.read_bytes()
    batch = served.client.batches.create(
        input_file_id=uploaded.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"who": "a test"}
    )
    deadline = time.monotonic() + 30
    while batch.status not in ("completed", "failed") and time.monotonic() < deadline:
        time.sleep(0.05)
        batch = served.client.batches.retrieve(batch.id)
    assert (batch.status, batch.metadata) == ("completed", {"who": "a test"})
    assert batch.request_counts is not None
    assert batch.request_counts.model_dump() == {"total": 6, "completed": 5, "failed": 1}
    answered = [json.loads(line) for line in served.client.files.content(batch.output_file_id or "").text.splitlines()]
    for line in answered:
        seed = int(line["custom_id"][1:])
        live = served.client.chat.completions.create(model=served.model, messages=MESSAGES, seed=seed)  # pyright: ignore
        assert line["response"]["body"]["choices"][0]["message"]["content"] == live.choices[0].message.content
    (failed,) = [json.loads(line) for line in served.client.files.content(batch.error_file_id or "").text.splitlines()]
    assert (failed["custom_id"], failed["response"]["status_code"]) == ("r5", 404)
    assert batch.id in [item.id for item in served.client.batches.list()]
    assert served.client.files.delete(uploaded.id).deleted
    with pytest.raises(openai.NotFoundError):
        served.client.files.content(uploaded.id)


def test_a_port_in_use_is_named_and_nothing_is_started(served: Served, tmp_path: Path) -> None:
    second = start(tmp_path, served.port)
    output = second.communicate(timeout=60)[0]
    assert second.returncode == 1
    assert f"Port {served.port} of 127.0.0.1, for the teacher, is in use" in output
    assert "--port" in output


def test_other_host_names_are_refused(served: Served) -> None:
    foreign = served.client.with_options(default_headers={"Host": "evil.example"})
    with pytest.raises(openai.BadRequestError):
        foreign.models.list()


def test_ctrl_c_ends_it_cleanly(tmp_path: Path) -> None:
    port = free_port()
    write_respondents(tmp_path)
    process = start(tmp_path, port)
    wait_for_model(process, openai.OpenAI(api_key="any", base_url=f"http://127.0.0.1:{port}/v1", max_retries=0))
    os.kill(process.pid, signal.SIGINT)
    output = process.communicate(timeout=20)[0]
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert "not an LLM" in output
    assert "estimated on table survey_respondents" in output
