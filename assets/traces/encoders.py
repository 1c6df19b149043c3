"""Text encoders: the local one, or a model of the teacher's endpoint, whose vectors are bought once and kept."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx2
import numpy as np
import openai

from assets.traces.endpoint_encoder import EncoderError, EndpointEncoder
from assets.traces.text_encoder import TEXT_ENCODER, encode_texts

TIMEOUT_SECONDS = 60.0


class TextEncoder(Protocol):
    """Turns wordings into unit vectors; `name` is stored with every vector, and tells encoders apart."""

    @property
    def name(self) -> str:
        """Name of the encoder: vectors of different names never mix."""
        ...

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n, D], rows of Euclidean length one."""
        ...


class LocalEncoder:
    """The small encoder of this project: hashed n-grams, no download and no bill."""

    name = TEXT_ENCODER

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n, D], rows of length one; see `text_encoder.encode_texts`."""
        return encode_texts(texts)


class NotingEncoder(LocalEncoder):
    """Notes what it is asked to encode, so that it can be counted before anything is sent; `texts` holds it."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As the local encoder."""
        self.texts += texts
        return super().encode(texts)


def open_encoder(
    base_url: str | None,
    model: str | None,
    api_key: str | None,
    ledger_path: Path,
    budget_usd: float,
    make_client: Callable[[], httpx2.Client] | None = None,
) -> TextEncoder:
    """The encoder that the settings choose: the local one as long as no model is set.

    Args:
        base_url: address of the teacher, which serves the model too.
        model: its embedding model.
        api_key: key of that address.
        ledger_path: the ledger, which holds every vector that was bought.
        budget_usd: most that the ledger may spend, on answers of teachers too.
        make_client: transport to use instead of the network.

    Raises:
        EncoderError: a model is set and no address.
    """
    if model is None:
        return LocalEncoder()
    if base_url is None:
        raise EncoderError(
            f"POPULACE_EMBEDDING_MODEL is {model!r}, but no address is set. Set POPULACE_TEACHER_BASE_URL to the server"
            " that serves it, or unset the model for the local encoder."
        )
    client = openai.OpenAI(
        api_key=api_key or "none",
        base_url=base_url,
        timeout=TIMEOUT_SECONDS,
        max_retries=0,
        http_client=make_client() if make_client else None,
    )
    return EndpointEncoder(client, model, host_of(base_url), ledger_path, budget_usd)


def host_of(base_url: str) -> str:
    """The host that an address names."""
    return str(urlsplit(base_url).hostname)
