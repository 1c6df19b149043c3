"""Text encoders: the local one by default; an endpoint's vectors are bought once, named and never mixed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import numpy as np
import openai
import pytest

from assets.traces.completions import Usage
from assets.traces.embedded_teacher.app import create_app
from assets.traces.embedded_teacher.response_models import ResponseModels
from assets.traces.encoders import LocalEncoder, open_encoder
from assets.traces.endpoint_encoder import EncoderError, EncodingFailed, EndpointEncoder, embedding_requests
from assets.traces.estimates import estimate_embeddings, known_requests, ledger_state
from assets.traces.ledger import Ledger
from assets.traces.text_encoder import TEXT_ENCODER, encode_texts

KEY = "sk-very-secret"
MODEL = "text-embedding-3-small"
USD_PER_TOKEN = 0.02e-6
TEXTS = ["Should the town charge?", "yes", "no", "yes"]


class Endpoint:
    """An embeddings endpoint: vectors of `dims` numbers that depend on the text; counts what it was sent and charged.

    `statuses` are the replies to the first requests; every text counts as seven tokens.
    """

    def __init__(self, dims: int = 5, scale: float = 3.0, statuses: Sequence[int] = ()) -> None:
        self.dims, self.scale = dims, scale
        self.texts: list[str] = []
        self.statuses = list(statuses)
        self.num_requests = self.num_tokens = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.num_requests += 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            headers = {"retry-after-ms": "1"}
            return httpx2.Response(status, headers=headers, json={"error": {"message": f"no, {KEY}"}})
        body = json.loads(request.content)
        self.texts += body["input"]
        self.num_tokens += 7 * len(body["input"])
        data = [
            {"object": "embedding", "index": index, "embedding": self.vector(text)}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 7 * len(data), "total_tokens": 7 * len(data)}
        return httpx2.Response(200, json={"object": "list", "model": body["model"], "data": data[::-1], "usage": usage})

    def vector(self, text: str) -> list[float]:
        return [self.scale * (len(text) + index) for index in range(self.dims)]


def encoder_of(
    endpoint: Callable[[httpx2.Request], httpx2.Response], folder: Path, model: str = MODEL, budget_usd: float = 1.0
) -> EndpointEncoder:
    client = openai.OpenAI(
        api_key=KEY,
        base_url="http://models.example/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(endpoint)),
        max_retries=0,
    )
    return EndpointEncoder(client, model, "models.example", ledger_of(folder), budget_usd, wait=lambda _: None)


def ledger_of(folder: Path) -> Path:
    return folder / "ledger.sqlite"


def test_without_a_model_the_local_encoder_encodes_and_is_named(tmp_path: Path) -> None:
    encoder = open_encoder("http://models.example/v1", None, KEY, ledger_of(tmp_path), 1.0)
    assert isinstance(encoder, LocalEncoder)
    assert encoder.name == TEXT_ENCODER
    np.testing.assert_array_equal(encoder.encode(TEXTS), encode_texts(TEXTS))
    assert not ledger_of(tmp_path).exists()


def test_a_model_without_an_address_names_both_settings(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="POPULACE_TEACHER_BASE_URL") as raised:
        open_encoder(None, "embed-1", KEY, ledger_of(tmp_path), 1.0)
    assert "POPULACE_EMBEDDING_MODEL" in str(raised.value)


def test_vectors_have_length_one_and_the_order_of_the_texts(tmp_path: Path) -> None:
    endpoint = Endpoint()
    vectors = encoder_of(endpoint, tmp_path).encode(TEXTS)
    expected = np.array([endpoint.vector(text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)
    assert vectors.dtype == np.float32


def test_a_text_is_sent_once_in_the_life_of_the_ledger(tmp_path: Path) -> None:
    endpoint = Endpoint()
    first = encoder_of(endpoint, tmp_path)
    bought = first.encode(TEXTS)
    assert sorted(endpoint.texts) == sorted(set(TEXTS)), "equal texts are sent once"
    assert (first.num_asked, first.num_known, first.num_tokens) == (3, 1, 21)
    second = encoder_of(endpoint, tmp_path)
    np.testing.assert_array_equal(
        second.encode([*TEXTS, "strongly_agree"]), np.vstack([bought, second.encode(["strongly agree"])])
    )
    assert endpoint.texts.count("yes") == 1
    assert (second.num_asked, second.num_known) == (1, 5)


def test_other_models_do_not_share_vectors(tmp_path: Path) -> None:
    endpoint = Endpoint()
    one, other = encoder_of(endpoint, tmp_path, "embed-1"), encoder_of(endpoint, tmp_path, "embed-2")
    one.encode(TEXTS)
    other.encode(TEXTS)
    assert len(endpoint.texts) == 6
    assert one.name != other.name
    assert "models.example" in one.name


def test_a_model_that_changes_under_its_name_is_noticed(tmp_path: Path) -> None:
    encoder_of(Endpoint(dims=5), tmp_path).encode(["yes"])
    with pytest.raises(EncodingFailed, match=r"lengths \[5, 6\]"):
        encoder_of(Endpoint(dims=6), tmp_path).encode(["yes", "no"])


def test_a_failing_endpoint_says_what_to_set_and_never_the_key(tmp_path: Path) -> None:
    endpoint = Endpoint(statuses=[404])
    with pytest.raises(EncodingFailed, match="POPULACE_EMBEDDING_MODEL") as raised:
        encoder_of(endpoint, tmp_path).encode(["yes"])
    assert KEY not in str(raised.value)
    assert KEY.encode() not in ledger_of(tmp_path).read_bytes()
    encoder_of(endpoint, tmp_path).encode(["yes"])


def test_vectors_without_a_direction_and_blank_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed, match="with a direction"):
        encoder_of(Endpoint(scale=0.0), tmp_path).encode(["yes"])
    with pytest.raises(ValueError, match="Text 1 of 2 is blank"):
        encoder_of(Endpoint(), tmp_path).encode(["yes", " _ "])


def test_the_embedded_teachers_server_gives_what_the_local_encoder_gives(tmp_path: Path) -> None:
    """Through the wire, in base64, from a real app of ours."""
    starlette = pytest.importorskip("starlette.testclient")
    app = starlette.TestClient(create_app(ResponseModels({}, "none")), base_url="http://127.0.0.1")

    def pass_on(request: httpx2.Request) -> httpx2.Response:
        answer = app.post(request.url.path, content=request.content)
        return httpx2.Response(answer.status_code, content=answer.content)

    client = openai.OpenAI(
        api_key=KEY,
        base_url="http://127.0.0.1/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(pass_on)),
    )
    encoder = EndpointEncoder(client, TEXT_ENCODER, "127.0.0.1", ledger_of(tmp_path), 0.0)
    np.testing.assert_allclose(encoder.encode(TEXTS), encode_texts(TEXTS), atol=1e-6)


def test_every_text_stands_in_the_ledger_with_its_share_of_what_the_server_counted(tmp_path: Path) -> None:
    endpoint = Endpoint()
    encoder = encoder_of(endpoint, tmp_path)
    encoder.encode([f"question number {number}" for number in range(600)])
    state = ledger_state(ledger_of(tmp_path))
    (row,) = state.by_model.to_dicts()
    assert endpoint.num_requests == 3, "many texts travel in one request"
    assert (row["model"], row["num_answers"], row["num_refusals"]) == (encoder.name, 600, 0)
    assert row["prompt_tokens"] == endpoint.num_tokens == encoder.num_tokens
    assert state.spent_usd == pytest.approx(endpoint.num_tokens * USD_PER_TOKEN)
    assert state.unconfirmed_usd == 0.0


def test_what_passes_is_tried_again_and_every_attempt_is_noted(tmp_path: Path) -> None:
    endpoint = Endpoint(statuses=[429, 500, 503])
    encoder_of(endpoint, tmp_path).encode(["yes", "no"])
    state = ledger_state(ledger_of(tmp_path))
    assert endpoint.num_requests == 4
    assert sorted(endpoint.texts) == ["no", "yes"]
    assert state.spent_usd == pytest.approx(endpoint.num_tokens * USD_PER_TOKEN)
    assert state.failures.is_empty()


def test_a_reply_that_is_no_json_is_asked_again_and_may_have_been_paid(tmp_path: Path) -> None:
    endpoint = Endpoint()
    replies = [httpx2.Response(200, content=b"<html>busy</html>"), httpx2.Response(200, json=["no", "object"])]

    def broken(request: httpx2.Request) -> httpx2.Response:
        return replies.pop(0) if replies else endpoint(request)

    assert encoder_of(broken, tmp_path).encode(["yes"]).shape == (1, 5)
    state = ledger_state(ledger_of(tmp_path))
    assert state.spent_usd == pytest.approx(7 * USD_PER_TOKEN)
    assert state.unconfirmed_usd > 0.0


def test_what_fits_once_requests_under_way_are_known_waits_for_them(tmp_path: Path) -> None:
    """A text is set aside for as many tokens as it has bytes, and counts as seven."""
    endpoint = Endpoint()
    text = "x" * 490
    with Ledger(ledger_of(tmp_path)) as other:
        (request,) = embedding_requests([text + "!"], encoder_of(endpoint, tmp_path).name)
        (claim,) = other.commit(other.claim(request, "another", 491 * USD_PER_TOKEN, 1.0))
        waited: list[float] = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            usage = Usage(prompt_tokens=7, cost_usd=7 * USD_PER_TOKEN)
            other.commit(other.fail(claim.attempt_id, "no", usage=usage))

        encoder = encoder_of(endpoint, tmp_path, budget_usd=600 * USD_PER_TOKEN)
        encoder.wait = wait
        assert encoder.encode([text]).shape == (1, 5)
    assert waited


def test_what_does_not_pass_is_listed_with_its_reason(tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed, match="failed after 8: HTTP 500"):
        encoder_of(Endpoint(statuses=[500] * 99), tmp_path).encode(["yes"])
    (failure,) = ledger_state(ledger_of(tmp_path)).failures.to_dicts()
    assert failure["num_attempts"] == 8
    assert "HTTP 500" in failure["reason"]


def test_the_cap_stops_before_anything_is_sent_and_keeps_what_was_bought(tmp_path: Path) -> None:
    endpoint = Endpoint()
    bought = encoder_of(endpoint, tmp_path).encode(["yes"])
    dear = [f"{number} " + 600 * "x" for number in range(99)]
    with pytest.raises(EncodingFailed, match=r"does not fit into the budget of 0\.00 USD.*POPULACE_TEACHER_BUDGET_USD"):
        encoder_of(endpoint, tmp_path, budget_usd=1e-5).encode(["yes", *dear])
    assert endpoint.texts == ["yes"]
    np.testing.assert_array_equal(encoder_of(endpoint, tmp_path, budget_usd=1e-5).encode(["yes"]), bought)
    assert encoder_of(endpoint, tmp_path).encode(["yes", *dear]).shape == (100, 5)


def test_unusable_vectors_cost_what_the_server_counted(tmp_path: Path) -> None:
    endpoint = Endpoint(scale=0.0)
    with pytest.raises(EncodingFailed):
        encoder_of(endpoint, tmp_path).encode(["yes"])
    assert ledger_state(ledger_of(tmp_path)).spent_usd == pytest.approx(7 * USD_PER_TOKEN)


def test_the_estimate_counts_what_will_be_sent(tmp_path: Path) -> None:
    endpoint = Endpoint()
    encoder = encoder_of(endpoint, tmp_path)
    encoder.encode(["yes"])
    row = estimate_embeddings(["yes", "no", "no", "x" * 400], encoder.name, known_requests(ledger_of(tmp_path)))
    assert (row["num_texts"], row["num_known"]) == (3, 1)
    assert row["prompt_tokens"] == pytest.approx(100.5, abs=0.6)
    assert row["live_usd"] == pytest.approx(row["prompt_tokens"] * USD_PER_TOKEN)


def test_two_at_once_never_buy_the_same_text(tmp_path: Path) -> None:
    endpoint = Endpoint()
    texts = [f"question {number}" for number in range(300)]
    with Ledger(ledger_of(tmp_path)):  # so that the threads do not both make the file
        vectors: list[np.ndarray] = []
        threads = [
            threading.Thread(target=lambda: vectors.append(encoder_of(endpoint, tmp_path).encode(texts)))
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(endpoint.texts) == sorted(texts)
    np.testing.assert_array_equal(vectors[0], vectors[1])


ENCODE = """
import sys
from pathlib import Path
from assets.traces.encoders import open_encoder
open_encoder(sys.argv[1], "text-embedding-3-small", "key", Path(sys.argv[2]), 1.0).encode(["yes", "no"])
"""


def test_a_run_that_is_killed_while_it_waits_asks_again_and_may_have_paid(tmp_path: Path) -> None:
    """A real server kills its client in the middle of a request."""
    killed: list[subprocess.Popen] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            os.kill(killed[0].pid, signal.SIGKILL)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    killed.append(subprocess.Popen([sys.executable, "-c", ENCODE, address, str(ledger_of(tmp_path))]))
    try:
        assert killed[0].wait(60) == -signal.SIGKILL
    finally:
        server.shutdown()
        server.server_close()
    endpoint = Endpoint()
    client = openai.OpenAI(
        api_key=KEY,
        base_url=address,
        http_client=httpx2.Client(transport=httpx2.MockTransport(endpoint)),
        max_retries=0,
    )
    EndpointEncoder(client, MODEL, "127.0.0.1", ledger_of(tmp_path), 1.0).encode(["yes", "no"])
    state = ledger_state(ledger_of(tmp_path))
    assert sorted(endpoint.texts) == ["no", "yes"]
    assert state.spent_usd == pytest.approx(14 * USD_PER_TOKEN)
    assert state.unconfirmed_usd > 0.0
