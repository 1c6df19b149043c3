"""An OpenAI-compatible ASGI app around the embedded teacher.

It serves models, chat completions, embeddings, files and batches in the wire format of the OpenAI API, so that any
client works on it. It is a statistical stand-in and not an LLM: it understands this project's prompts only and says so
in its model's name.
"""

import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from assets.traces.embedded_teacher.batches import WINDOW_SECONDS, BatchDesk
from assets.traces.embedded_teacher.notes import EventNotes
from assets.traces.embedded_teacher.protocol import CHAT, EMBEDDINGS, RequestRefused, chunks_of, list_models, respond
from assets.traces.embedded_teacher.response_models import ResponseModels
from assets.traces.embedded_teacher.shelf import Shelf
from assets.traces.embedded_teacher.teacher import EmbeddedTeacher

Handler = Callable[[Request], Awaitable[Response]]
NO_NOTES = EventNotes()
PURPOSES = ("batch", "user_data")


class Desk:
    """The teacher and, from the first file or batch on, a folder for them."""

    def __init__(self, teacher: EmbeddedTeacher, folder: Path | None, window_seconds: float) -> None:
        self.teacher = teacher
        self._folder = folder
        self._window_seconds = window_seconds
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @cached_property
    def batches(self) -> BatchDesk:
        """Files and batches; without a folder they live as long as the app."""
        folder = self._folder
        if folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="populace-teacher-")
            folder = Path(self._temporary.name)
        answer = lambda endpoint, body: respond(self.teacher, endpoint, body)  # noqa: E731
        return BatchDesk(Shelf(folder), answer, window_seconds=self._window_seconds)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Takes up what an earlier server left, and stops cleanly."""
        if self._folder is not None:
            self.batches.resume()
        yield
        if "batches" in self.__dict__:
            await run_in_threadpool(self.batches.close)


def create_app(
    models: ResponseModels,
    folder: Path | None = None,
    *,
    notes: EventNotes = NO_NOTES,
    window_seconds: float = WINDOW_SECONDS,
) -> Starlette:
    """The ASGI app; `app.state.teacher` counts requests.

    Args:
        models: response models that it answers from.
        folder: where files and batches are kept between servers; none keeps them while the app lives.
        notes: valence and credibility of events, see `notes.py`; events without a note are a bad request.
        window_seconds: after this time a batch expires.
    """
    desk = Desk(EmbeddedTeacher(models, notes), folder, window_seconds)
    post, get = ["POST"], ["GET"]
    app = Starlette(
        routes=[
            Route("/v1/models", _guarded(lambda _: _json(list_models(desk.teacher))), methods=get),
            Route(CHAT, _guarded(lambda request: _answer(desk, CHAT, request)), methods=post),
            Route(EMBEDDINGS, _guarded(lambda request: _answer(desk, EMBEDDINGS, request)), methods=post),
            Route("/v1/files", _guarded(lambda request: _upload(desk, request)), methods=post),
            Route("/v1/files", _guarded(lambda _: _list(desk, "file")), methods=get),
            Route("/v1/files/{id}", _guarded(lambda request: _json(_shelf(desk).get(_id(request)))), methods=get),
            Route("/v1/files/{id}", _guarded(lambda request: _remove(desk, _id(request))), methods=["DELETE"]),
            Route("/v1/files/{id}/content", _guarded(lambda request: _content(desk, _id(request))), methods=get),
            Route("/v1/batches", _guarded(lambda request: _take(desk, request)), methods=post),
            Route("/v1/batches", _guarded(lambda _: _list(desk, "batch")), methods=get),
            Route("/v1/batches/{id}", _guarded(lambda request: _json(desk.batches.view(_id(request)))), methods=get),
            Route(
                "/v1/batches/{id}/cancel",
                _guarded(lambda request: _json(desk.batches.cancel(_id(request)))),
                methods=post,
            ),
        ],
        lifespan=desk.lifespan,
    )
    app.state.teacher = desk.teacher
    return app


def _guarded(handler: Callable[[Request], Any]) -> Handler:
    """Turns refusals into error bodies; a handler gives a response or something to wait for."""

    async def handle(request: Request) -> Response:
        try:
            outcome = handler(request)
            return outcome if isinstance(outcome, Response) else await outcome
        except RequestRefused as refused:
            return JSONResponse(refused.body, status_code=refused.status)

    return handle


def _json(body: Any) -> Response:
    return JSONResponse(body)


def _id(request: Request) -> str:
    return request.path_params["id"]


def _shelf(desk: Desk) -> Shelf:
    return desk.batches.shelf


async def _body(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError) as error:
        raise RequestRefused(400, f"The request is no JSON: {error}.") from error


async def _answer(desk: Desk, endpoint: str, request: Request) -> Response:
    body = await _body(request)
    status, answer = respond(desk.teacher, endpoint, body)
    if status == 200 and endpoint == CHAT and body.get("stream"):
        lines = [*(json.dumps(chunk) for chunk in chunks_of(answer)), "[DONE]"]
        return StreamingResponse((f"data: {line}\n\n" for line in lines), media_type="text/event-stream")
    return JSONResponse(answer, status_code=status)


async def _upload(desk: Desk, request: Request) -> Response:
    async with request.form() as form:
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise RequestRefused(400, "The form needs a file under the name file.", param="file")
        if purpose not in PURPOSES:
            raise RequestRefused(400, f"purpose is {purpose!r}, allowed: {', '.join(PURPOSES)}.", param="purpose")
        content = await file.read()
        name = Path(file.filename or "file").name
    return JSONResponse(await run_in_threadpool(_shelf(desk).add_file, content, name, str(purpose)))


async def _content(desk: Desk, file_id: str) -> Response:
    content = await run_in_threadpool(_shelf(desk).content_of, file_id)
    return Response(content, media_type="application/octet-stream")


async def _remove(desk: Desk, file_id: str) -> Response:
    await run_in_threadpool(_shelf(desk).remove_file, file_id)
    return JSONResponse({"id": file_id, "object": "file", "deleted": True})


async def _take(desk: Desk, request: Request) -> Response:
    return JSONResponse(await run_in_threadpool(desk.batches.create, await _body(request)))


async def _list(desk: Desk, kind: str) -> Response:
    entries = await run_in_threadpool(lambda: list(_shelf(desk).entries(kind)))
    body = {"object": "list", "data": entries, "has_more": False}
    ends = {"first_id": entries[0]["id"], "last_id": entries[-1]["id"]} if entries else {}
    return JSONResponse(body | ends)
