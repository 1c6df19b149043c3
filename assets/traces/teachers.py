"""Teachers: anything that speaks the OpenAI protocol; without an address, the embedded teacher in this process."""

from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
import openai
import polars as pl

from assets.traces.embedded_teacher.app import create_app
from assets.traces.embedded_teacher.notes import EventNotes, notes_of
from assets.traces.embedded_teacher.response_models import fit_response_models
from assets.traces.embedded_teacher.teacher import model_name

EMBEDDED = "embedded"
MOST_CONNECTIONS = 2_048
TIMEOUT = httpx2.Timeout(None, connect=20.0)
"""Patience with a connection; patience with answers is an option of the elicitation, and attempts are its own too."""


class TeacherError(ValueError):
    """A teacher is described incompletely; the message says what to set."""


@dataclass(frozen=True)
class TeacherEndpoint:
    """Where a teacher answers. The key never shows in representations, logs or errors."""

    base_url: str | None = None
    model: str | None = None
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.base_url is None:
            return
        if "@" in urlsplit(self.base_url).netloc:
            raise TeacherError(
                "The teacher's address carries a user name or a password, which would show in logs. "
                "Set POPULACE_TEACHER_BASE_URL without it, and the key as OPENAI_API_KEY."
            )
        if urlsplit(self.base_url).scheme not in ("http", "https"):
            raise TeacherError(
                f"The teacher's address {self.base_url!r} is no http or https address. "
                "Set POPULACE_TEACHER_BASE_URL, for example to http://127.0.0.1:8000/v1"
            )
        if not self.model:
            raise TeacherError(
                f"The teacher at {self.base_url} needs a model name. Set POPULACE_TEACHER_MODEL to one that it serves."
            )

    @property
    def label(self) -> str:
        """How traces name the teacher: embedded, or the endpoint's host."""
        return EMBEDDED if self.base_url is None else str(urlsplit(self.base_url).hostname)


@dataclass(frozen=True)
class Teacher:
    """An open teacher: its client, its label and the exact model name that requests carry."""

    client: openai.AsyncOpenAI
    label: str
    model: str


def open_teacher(
    endpoint: TeacherEndpoint,
    respondents: pl.DataFrame,
    scenarios: pl.DataFrame | None = None,
    http_client: httpx2.AsyncClient | None = None,
) -> Teacher:
    """Opens the client of a teacher.

    Args:
        endpoint: where it answers; the default is the embedded teacher.
        respondents: rows of `survey_respondents`, on which the embedded teacher is estimated.
        scenarios: rows of `scenarios`; the embedded teacher takes from them which items are asked, and valence and
            credibility of events, which prompts do not show. Without them it estimates every item and knows no event.
        http_client: transport to use instead of the network.
    """
    if endpoint.base_url is None:
        items = None if scenarios is None else scenarios["item"].drop_nulls().unique().to_list()
        models = fit_response_models(respondents, items)
        notes = EventNotes() if scenarios is None else notes_of(scenarios)
        transport = httpx2.ASGITransport(app=create_app(models, notes=notes))
        client = openai.AsyncOpenAI(
            api_key="embedded",
            base_url="http://embedded.invalid/v1",
            max_retries=0,
            http_client=http_client or httpx2.AsyncClient(transport=transport),
        )
        return Teacher(client, EMBEDDED, model_name(models))
    client = openai.AsyncOpenAI(
        api_key=endpoint.api_key or "none",
        base_url=endpoint.base_url,
        timeout=TIMEOUT,
        max_retries=0,
        http_client=http_client or _network(),
    )
    return Teacher(client, endpoint.label, str(endpoint.model))


def _network() -> httpx2.AsyncClient:
    """A transport on aiohttp: it takes a third of the processor time per request of the client's own."""
    limits = httpx2.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS)
    return openai.DefaultAioHttpClient(limits=limits, timeout=TIMEOUT)
