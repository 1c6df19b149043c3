"""An embedding model behind an OpenAI-compatible address, bought through the ledger: no text is paid for twice.

Every text is a request of its own in the ledger, with an id before it is sent; texts travel many at a time, and what
the server counted for all of them is shared out among them. A killed run asks only what is missing, two runs at once
never ask for the same text, and the cap in dollars is that of all teachers together.

EncoderError
└── EncodingFailed   the endpoint gave no vectors, or others than were asked for, or the budget does not reach
"""

import base64
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openai
from openai.types import CreateEmbeddingResponse

from assets.traces.completions import Answer, Request, Usage
from assets.traces.ledger import Attempt, Busy, Ledger, LedgerFull, NoRoom, TooDear
from assets.traces.prices import find_price
from assets.traces.retrying import MOST_ATTEMPTS, Trouble, read_trouble, waiting_seconds

TEXTS_PER_REQUEST = 256
BUSY_SECONDS = 0.2
"""Pause before looking again for a text that another process is buying."""
UNREADABLE = Trouble("the reply cannot be read", is_retried=True, is_unconfirmed=True)
UNUSABLE = "the vectors are not one per text, of one length and with a direction"


class EncoderError(RuntimeError):
    """Texts cannot be encoded; the message says what to do."""


class EncodingFailed(EncoderError):
    """The endpoint gave no vectors, or others than were asked for, or the budget does not reach."""


@dataclass
class EndpointEncoder:
    """Buys vectors of texts; those that the ledger holds are not sent.

    `num_asked` counts texts that were sent and answered, `num_known` those in the ledger before, `num_tokens` what the
    server counted, and `cost_usd` its price.
    """

    client: openai.OpenAI
    model: str
    host: str
    ledger_path: Path
    budget_usd: float
    wait: Callable[[float], None] = field(default=time.sleep, repr=False)
    num_asked: int = 0
    num_known: int = 0
    num_tokens: int = 0
    cost_usd: float = 0.0

    @property
    def name(self) -> str:
        """Model and host: the same model name elsewhere may be another model."""
        return encoder_name(self.model, self.host)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n, D], rows of length one; texts that the ledger knows are not sent.

        Raises:
            EncodingFailed: the endpoint failed for good, its vectors are not one per text and of one length, or the
                budget does not reach.
            LedgerError: the ledger cannot be used.
            ValueError: a text is blank.
        """
        requests = embedding_requests(texts, self.name)
        if not requests:
            return np.zeros((0, 0), dtype=np.float32)
        unique = list({request.custom_id: request for request in requests}.values())
        vectors: dict[str, np.ndarray] = {}
        num_asked_before = self.num_asked
        with Ledger(self.ledger_path) as ledger:
            for start in range(0, len(unique), TEXTS_PER_REQUEST):
                vectors |= self._buy(ledger, unique[start : start + TEXTS_PER_REQUEST])
        self.num_known += len(requests) - (self.num_asked - num_asked_before)
        lengths = {len(vector) for vector in vectors.values()}
        if len(lengths) > 1:
            raise EncodingFailed(
                f"{self.name} gave vectors of lengths {sorted(lengths)}: the model has changed under its name. Set "
                "POPULACE_EMBEDDING_MODEL to a name that stands for one model; everything is then encoded by it."
            )
        return np.stack([vectors[request.custom_id] for request in requests])

    def _buy(self, ledger: Ledger, waiting: Sequence[Request]) -> dict[str, np.ndarray]:
        """Vectors by custom_id: from the ledger, or bought now; waits for those that another process is buying."""
        found: dict[str, np.ndarray] = {}
        num_failed = 0
        while waiting:
            attempts, busy = self._claim(ledger, waiting, found)
            if attempts and not self._send(ledger, attempts, found, num_failed + 1):
                num_failed += 1
            elif not attempts:
                self.wait(BUSY_SECONDS)
            waiting = [*busy, *(request for request, _ in attempts if request.custom_id not in found)]
        return found

    def _claim(
        self, ledger: Ledger, waiting: Sequence[Request], found: dict[str, np.ndarray]
    ) -> tuple[list[tuple[Request, Attempt]], list[Request]]:
        """What is now ours to send, and what must wait; vectors that are known go to `found`.

        What must wait is being bought by another process, or fits into the budget only if requests under way cost less
        than was set aside for them.
        """
        claims = ledger.commit(
            *(ledger.claim(request, self.name, self._most_usd(request), self.budget_usd) for request in waiting)
        )
        pairs = list(zip(waiting, claims, strict=True))
        attempts = [(request, claim) for request, claim in pairs if isinstance(claim, Attempt)]
        for request, claim in pairs:
            if isinstance(claim, Answer) and claim.content is not None:
                found[request.custom_id] = np.frombuffer(base64.b64decode(claim.content), dtype="<f4")
            elif isinstance(claim, NoRoom) or (isinstance(claim, TooDear) and claim.is_final):
                ledger.commit(*(ledger.fail(attempt.attempt_id, "not sent") for _, attempt in attempts))
                if isinstance(claim, NoRoom):
                    raise LedgerFull(claim.message)
                raise EncodingFailed(
                    f"Encoding {len(waiting)} texts with {self.name} does not fit into the budget of "
                    f"{self.budget_usd:.2f} USD: {claim.spent_usd:.4f} USD are spent, and answers that never came may "
                    f"have cost {claim.unconfirmed_usd:.4f} USD. Raise POPULACE_TEACHER_BUDGET_USD, or unset "
                    "POPULACE_EMBEDDING_MODEL for the local encoder."
                )
        return attempts, [request for request, claim in pairs if isinstance(claim, Busy | TooDear)]

    def _send(
        self,
        ledger: Ledger,
        attempts: Sequence[tuple[Request, Attempt]],
        found: dict[str, np.ndarray],
        num_failed: int,
    ) -> bool:
        """Sends texts in one request and settles it; False where it failed and may be tried again, after a pause."""
        texts = [request.messages[0]["content"] for request, _ in attempts]
        began = time.monotonic()
        try:
            reply = self.client.embeddings.create(model=self.model, input=texts)
        except (openai.APIError, ValueError, TypeError, AttributeError) as error:
            known = isinstance(error, openai.APIError)
            trouble = read_trouble(error, self.client.api_key) if known else UNREADABLE
            ledger.commit(
                *(
                    ledger.fail(attempt.attempt_id, trouble.reason, is_unconfirmed=trouble.is_unconfirmed)
                    for _, attempt in attempts
                )
            )
            if not trouble.is_retried or num_failed >= MOST_ATTEMPTS:
                raise EncodingFailed(
                    f"The text encoder {self.name} failed after {num_failed}: {trouble.reason}. Allowed: a model of "
                    "that address that serves embeddings. Set POPULACE_EMBEDDING_MODEL to one, or unset it for the "
                    "local encoder."
                ) from error
            self.wait(waiting_seconds(num_failed, trouble.retry_after))
            return False
        usages = self._usages(reply, texts)
        self.num_tokens += sum(usage.prompt_tokens for usage in usages)
        self.cost_usd += sum(usage.cost_usd for usage in usages)
        vectors = _unit_vectors(reply, len(texts))
        if vectors is None:
            ledger.commit(
                *(
                    ledger.fail(attempt.attempt_id, UNUSABLE, usage=usage)
                    for (_, attempt), usage in zip(attempts, usages, strict=True)
                )
            )
            raise EncodingFailed(
                f"The text encoder {self.name} gave {len(reply.data)} vectors for {len(texts)} texts: {UNUSABLE}. Set "
                "POPULACE_EMBEDDING_MODEL to another model, or unset it for the local encoder."
            )
        latency_ms = 1e3 * (time.monotonic() - began)
        ledger.commit(
            *(
                ledger.answer(attempt.attempt_id, _answer(vector, usage, latency_ms))
                for (_, attempt), vector, usage in zip(attempts, vectors, usages, strict=True)
            )
        )
        found |= {request.custom_id: vector for (request, _), vector in zip(attempts, vectors, strict=True)}
        self.num_asked += len(texts)
        return True

    def _most_usd(self, request: Request) -> float:
        """Price of a text if every byte of it were a token."""
        return find_price(self.name).cost_usd(len(request.messages[0]["content"].encode()), 0)

    def _usages(self, reply: CreateEmbeddingResponse, texts: Sequence[str]) -> list[Usage]:
        """The server's count, shared out among texts by their length; shares add up to it."""
        total = reply.usage.total_tokens if reply.usage else 0
        ends = np.cumsum([len(text) for text in texts])
        until = np.floor(total * ends / ends[-1] + 0.5).astype(int)
        price = find_price(self.name)
        return [Usage(prompt_tokens=int(n), cost_usd=price.cost_usd(int(n), 0)) for n in np.diff(until, prepend=0)]


def encoder_name(model: str, host: str) -> str:
    """Under which name an endpoint's vectors are kept."""
    return f"{model}@{host}"


def embedding_requests(texts: Sequence[str], name: str) -> list[Request]:
    """The ledger's request for each text; underscores count as spaces, and equal texts have equal ids.

    Raises:
        ValueError: a text is blank.
    """
    words = [" ".join(text.replace("_", " ").split()) for text in texts]
    if "" in words:
        raise ValueError(f"Text {words.index('')} of {len(words)} is blank; a blank text has no direction.")
    return [
        Request(
            custom_id=hashlib.sha256(f"embedding\n{name}\n{text}".encode()).hexdigest(),
            messages=({"role": "text", "content": text},),
            seed=0,
            is_json=False,
        )
        for text in words
    ]


def _answer(vector: np.ndarray, usage: Usage, latency_ms: float) -> Answer:
    return Answer(
        content=base64.b64encode(vector.tobytes()).decode(),
        refusal=None,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=0,
        completion_tokens=0,
        cost_usd=usage.cost_usd,
        latency_ms=latency_ms,
    )


def _unit_vectors(reply: CreateEmbeddingResponse, num_texts: int) -> np.ndarray | None:
    """Rows of length one in the order of the texts; None where the reply is unusable."""
    ordered = sorted(reply.data, key=lambda item: item.index)
    if [item.index for item in ordered] != list(range(num_texts)):
        return None
    if len({len(item.embedding) for item in ordered}) != 1:
        return None
    vectors_nD = np.array([item.embedding for item in ordered], dtype=np.float64)
    norms_n = np.linalg.norm(vectors_nD, axis=1, keepdims=True)
    if not np.isfinite(norms_n).all() or (norms_n == 0).any():
        return None
    return (vectors_nD / norms_n).astype("<f4")
