"""Text encoders: the local one by default; an endpoint's vectors are bought once, named and never mixed."""

import json
from pathlib import Path

import httpx2
import numpy as np
import openai
import pytest

from assets.traces.embedded_teacher.app import create_app
from assets.traces.embedded_teacher.response_models import ResponseModels
from assets.traces.encoders import EncoderError, EncodingFailed, EndpointEncoder, LocalEncoder, open_encoder
from assets.traces.text_encoder import TEXT_ENCODER, encode_texts

KEY = "sk-very-secret"
TEXTS = ["Should the town charge?", "yes", "no", "yes"]


class Endpoint:
    """An embeddings endpoint: vectors of `dims` numbers that depend on the text; counts what it was sent."""

    def __init__(self, dims: int = 5, scale: float = 3.0) -> None:
        self.dims, self.scale = dims, scale
        self.texts: list[str] = []
        self.status = 200

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if self.status != 200:
            return httpx2.Response(self.status, json={"error": {"message": f"no, {KEY}"}})
        body = json.loads(request.content)
        self.texts += body["input"]
        data = [
            {"object": "embedding", "index": index, "embedding": self.vector(text)}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return httpx2.Response(200, json={"object": "list", "model": body["model"], "data": data[::-1], "usage": usage})

    def vector(self, text: str) -> list[float]:
        return [self.scale * (len(text) + index) for index in range(self.dims)]


def encoder_of(endpoint: Endpoint, folder: Path, model: str = "embed-1") -> EndpointEncoder:
    client = openai.OpenAI(
        api_key=KEY,
        base_url="http://models.example/v1",
        http_client=httpx2.Client(transport=httpx2.MockTransport(endpoint)),
        max_retries=0,
    )
    return EndpointEncoder(client, model, "models.example", folder / "embeddings.sqlite")


def test_without_a_model_the_local_encoder_encodes_and_is_named(tmp_path: Path) -> None:
    encoder = open_encoder("http://models.example/v1", None, KEY, tmp_path / "cache.sqlite")
    assert isinstance(encoder, LocalEncoder)
    assert encoder.name == TEXT_ENCODER
    np.testing.assert_array_equal(encoder.encode(TEXTS), encode_texts(TEXTS))
    assert not (tmp_path / "cache.sqlite").exists()


def test_a_model_without_an_address_names_both_settings(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="POPULACE_TEACHER_BASE_URL") as raised:
        open_encoder(None, "embed-1", KEY, tmp_path / "cache.sqlite")
    assert "POPULACE_EMBEDDING_MODEL" in str(raised.value)


def test_vectors_have_length_one_and_the_order_of_the_texts(tmp_path: Path) -> None:
    endpoint = Endpoint()
    vectors = encoder_of(endpoint, tmp_path).encode(TEXTS)
    expected = np.array([endpoint.vector(text) for text in TEXTS])
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)
    assert vectors.dtype == np.float32


def test_a_text_is_sent_once_in_the_life_of_the_cache(tmp_path: Path) -> None:
    endpoint = Endpoint()
    first = encoder_of(endpoint, tmp_path)
    bought = first.encode(TEXTS)
    assert sorted(endpoint.texts) == sorted(set(TEXTS)), "equal texts are sent once"
    assert (first.num_asked, first.num_tokens) == (3, 7)
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
    endpoint = Endpoint()
    endpoint.status = 404
    with pytest.raises(EncodingFailed, match="POPULACE_EMBEDDING_MODEL") as raised:
        encoder_of(endpoint, tmp_path).encode(["yes"])
    assert KEY not in str(raised.value)
    endpoint.status = 200
    encoder_of(endpoint, tmp_path).encode(["yes"])


def test_vectors_without_a_direction_and_blank_texts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EncodingFailed, match="without a direction"):
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
    encoder = EndpointEncoder(client, TEXT_ENCODER, "127.0.0.1", tmp_path / "cache.sqlite")
    np.testing.assert_allclose(encoder.encode(TEXTS), encode_texts(TEXTS), atol=1e-6)
