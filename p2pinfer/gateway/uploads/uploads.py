"""Takes files from clients: a bounded number at once, each straight to the disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from p2pinfer.documents.files.file_store import IncomingFile
from p2pinfer.gateway.storage import Storage
from p2pinfer.gateway.uploads.form import Form
from p2pinfer.openai_api.errors import ApiError

MOST_FILE_BYTES = 200_000_000
MOST_FORM_BYTES = MOST_FILE_BYTES + (128 << 10)
"""Of the body: the file, and what is around it."""

_MOST_AT_ONCE = 16
_MOST_AT_ONCE_OF_OWNER = 4
_RETRY_SECONDS = 5.0
_WRITE_BYTES = 1 << 20
"""So many bytes are collected before a thread writes them."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that has come, and what was said about it."""

    fields: dict[str, str]
    name: str


class Uploads:
    """The files that are coming. For the event loop."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._coming: Counter[str] = Counter()

    @contextmanager
    def admitted(self, owner: str) -> Iterator[None]:
        """For as long as a file comes. Raises ApiError with status 429 if too many come at once."""
        if self._coming.total() >= _MOST_AT_ONCE or self._coming[owner] >= _MOST_AT_ONCE_OF_OWNER:
            raise ApiError(
                429,
                f"{_MOST_AT_ONCE_OF_OWNER} files at a time, and of all users {_MOST_AT_ONCE}: "
                "send this one when another one has come.",
                kind="rate_limit_error",
                code="too_many_uploads",
                retry_after_seconds=_RETRY_SECONDS,
            )
        self._coming[owner] += 1
        try:
            yield
        finally:
            self._coming[owner] -= 1
            self._coming += Counter()  # forgets those who have none

    async def check_room(self, owner: str, size_bytes: int) -> None:
        """Raise ApiError if a file of so many bytes can't be kept, before it comes."""
        files = self._storage.files
        if full := self._storage.limits.refusal(
            owner=await self._storage.run(files.totals, owner),
            everybody=await self._storage.run(files.totals),
            size_bytes=size_bytes,
        ):
            raise ApiError(
                429, full, kind="rate_limit_error", code="storage_full", retry_after_seconds=_RETRY_SECONDS
            )

    async def receive(self, body: AsyncIterator[bytes], content_type: str, to: IncomingFile) -> Upload:
        """Write the file that is in a body to the disk. Raises ApiError, and what `body` raises."""
        form = Form(content_type)
        waiting: list[bytes] = []
        waiting_bytes = 0
        async for piece in body:
            found = form.feed(piece)
            waiting += found
            waiting_bytes += sum(map(len, found))
            if to.size_bytes + waiting_bytes > MOST_FILE_BYTES:
                raise too_large()
            if waiting_bytes >= _WRITE_BYTES:
                await self._storage.run(to.write, b"".join(waiting))
                waiting, waiting_bytes = [], 0
        form.check_whole()
        assert form.file_name is not None
        await self._storage.run(to.write, b"".join(waiting))
        if not to.size_bytes:
            raise ApiError(400, "The file is empty.", param="file", code="empty_file")
        return Upload(form.fields, form.file_name)


def too_large() -> ApiError:
    """A file that is longer than any may be."""
    return ApiError(
        413,
        f"A file has at most {MOST_FILE_BYTES:,} bytes: send several.",
        param="file",
        code="request_too_large",
    )
