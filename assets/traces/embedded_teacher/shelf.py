"""Files of the embedded teacher's server: uploaded and written ones, in one folder, each beside what describes it."""

import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assets.traces.embedded_teacher.protocol import RequestRefused

FILE_ID = re.compile(r"file-[0-9a-f]{24}")
BATCH_ID = re.compile(r"batch_[0-9a-f]{24}")
MOST_BYTES = 200 * 2**20


class Shelf:
    """Files and descriptions in a folder; every write is whole or absent."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def add_file(self, content: bytes, filename: str, purpose: str) -> dict[str, Any]:
        """Keeps a file and returns its description, as the API states it.

        Raises:
            RequestRefused: the file is too large.
        """
        if len(content) > MOST_BYTES:
            raise RequestRefused(413, f"{filename} has {len(content)} bytes, allowed: {MOST_BYTES}.", param="file")
        entry = {
            "id": f"file-{secrets.token_hex(12)}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
        }
        self._write(self.folder / f"{entry['id']}.content", content)
        self.put(entry)
        return entry

    def content_of(self, file_id: str) -> bytes:
        """A file's content.

        Raises:
            RequestRefused: there is no such file.
        """
        self.get(file_id)
        return (self.folder / f"{file_id}.content").read_bytes()

    def put(self, entry: dict[str, Any]) -> None:
        """Keeps a description under its id, in place of the one before."""
        with self._lock:
            self._write(self.folder / f"{entry['id']}.json", json.dumps(entry).encode())

    def get(self, entry_id: str) -> dict[str, Any]:
        """A file's or a batch's description.

        Raises:
            RequestRefused: there is none of that id.
        """
        path = self.folder / f"{entry_id}.json"
        if not (FILE_ID.fullmatch(entry_id) or BATCH_ID.fullmatch(entry_id)) or not path.is_file():
            raise RequestRefused(404, f"There is no {entry_id!r} on this server.", code="not_found", param="id")
        return json.loads(path.read_text(encoding="utf-8"))

    def remove_file(self, file_id: str) -> None:
        """Forgets a file.

        Raises:
            RequestRefused: there is none of that id.
        """
        self.get(file_id)
        (self.folder / f"{file_id}.json").unlink(missing_ok=True)
        (self.folder / f"{file_id}.content").unlink(missing_ok=True)

    def entries(self, kind: str) -> Iterator[dict[str, Any]]:
        """Descriptions of all files (`file`) or batches (`batch`), the newest first."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in self.folder.glob(f"{kind}[-_]*.json")]
        yield from sorted(found, key=lambda entry: (-entry["created_at"], entry["id"]))

    @staticmethod
    def _write(path: Path, content: bytes) -> None:
        draft = path.with_name(f"{path.name}.draft")
        draft.write_bytes(content)
        draft.replace(path)
