"""Text encoders: the local one, or a model of the teacher's endpoint, whose vectors are bought once and kept.

EncoderError
└── EncodingFailed   the endpoint gave no vectors, or others than were asked for
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx2
import numpy as np
import openai

from assets.traces.text_encoder import TEXT_ENCODER, encode_texts

TEXTS_PER_REQUEST = 256
TIMEOUT_SECONDS = 60.0
SCHEMA = """
create table if not exists embeddings (
    encoder text not null,
    text_sha256 text not null,
    vector blob not null,
    primary key (encoder, text_sha256)
) without rowid;
"""


class EncoderError(RuntimeError):
    """Texts cannot be encoded; the message says what to do."""


class EncodingFailed(EncoderError):
    """The endpoint gave no vectors, or others than were asked for."""


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


@dataclass
class EndpointEncoder:
    """An embedding model behind an OpenAI-compatible address; every text is sent once in the life of the cache.

    `num_asked` counts texts that were sent, `num_known` those in the cache, `num_tokens` what the server counted.
    """

    client: openai.OpenAI
    model: str
    host: str
    cache_path: Path
    num_asked: int = 0
    num_known: int = 0
    num_tokens: int = 0

    @property
    def name(self) -> str:
        """Model and host: the same model name elsewhere may be another model."""
        return f"{self.model}@{self.host}"

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n, D], rows of length one; texts that the cache knows are not sent.

        Raises:
            EncodingFailed: the endpoint failed, or its vectors are not one per text and of one length.
            ValueError: a text is blank.
        """
        words = [" ".join(text.replace("_", " ").split()) for text in texts]
        if "" in words:
            raise ValueError(f"Text {words.index('')} of {len(words)} is blank; a blank text has no direction.")
        keys = [hashlib.sha256(text.encode()).hexdigest() for text in words]
        self.cache_path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.cache_path, timeout=30, isolation_level=None)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(SCHEMA)
            known = self._known(connection, keys)
            missing = {key: text for key, text in zip(keys, words, strict=True) if key not in known}
            self.num_known += len(keys) - len(missing)
            waiting = list(missing.items())
            for start in range(0, len(waiting), TEXTS_PER_REQUEST):
                part = waiting[start : start + TEXTS_PER_REQUEST]
                vectors = self._buy([text for _, text in part])
                rows = [(self.name, key, vector.tobytes()) for (key, _), vector in zip(part, vectors, strict=True)]
                connection.execute("begin")
                connection.executemany("insert or ignore into embeddings values (?, ?, ?)", rows)
                connection.execute("commit")
                known |= {key: vector for (key, _), vector in zip(part, vectors, strict=True)}
        finally:
            connection.close()
        lengths = {len(vector) for vector in known.values()}
        if len(lengths) > 1:
            raise EncodingFailed(
                f"{self.name} gave vectors of lengths {sorted(lengths)}: the model has changed under its name. Delete "
                f"{self.cache_path} to encode everything again."
            )
        return np.stack([known[key] for key in keys]) if keys else np.zeros((0, 0), dtype=np.float32)

    def _known(self, connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, np.ndarray]:
        found = {}
        for key in set(keys):
            row = connection.execute(
                "select vector from embeddings where encoder = ? and text_sha256 = ?", (self.name, key)
            ).fetchone()
            if row:
                found[key] = np.frombuffer(row[0], dtype="<f4")
        return found

    def _buy(self, texts: list[str]) -> np.ndarray:
        try:
            answer = self.client.embeddings.create(model=self.model, input=texts)
        except openai.OpenAIError as error:
            raise EncodingFailed(
                f"The text encoder {self.name} failed: {type(error).__name__}. Allowed: a model of that address that "
                "serves embeddings. Set POPULACE_EMBEDDING_MODEL to one, or unset it for the local encoder."
            ) from error
        ordered = sorted(answer.data, key=lambda item: item.index)
        lengths = {len(item.embedding) for item in ordered}
        if [item.index for item in ordered] != list(range(len(texts))) or len(lengths) != 1:
            raise EncodingFailed(
                f"The text encoder {self.name} gave {len(ordered)} vectors of lengths {sorted(lengths)} for "
                f"{len(texts)} texts; allowed: one per text, all of one length."
            )
        self.num_asked += len(texts)
        self.num_tokens += answer.usage.total_tokens if answer.usage else 0
        vectors_nD = np.array([item.embedding for item in ordered], dtype=np.float64)
        norms_n = np.linalg.norm(vectors_nD, axis=1, keepdims=True)
        if not np.isfinite(norms_n).all() or (norms_n == 0).any():
            raise EncodingFailed(f"The text encoder {self.name} gave a vector without a direction.")
        return (vectors_nD / norms_n).astype("<f4")


def open_encoder(
    base_url: str | None,
    model: str | None,
    api_key: str | None,
    cache_path: Path,
    make_client: Callable[[], httpx2.Client] | None = None,
) -> TextEncoder:
    """The encoder that the settings choose: the local one as long as no model is set.

    Args:
        base_url: address of the teacher, which serves the model too.
        model: its embedding model.
        api_key: key of that address.
        cache_path: SQLite file in which vectors are kept.
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
        http_client=make_client() if make_client else None,
    )
    return EndpointEncoder(client, model, str(urlsplit(base_url).hostname), cache_path)
