"""Reads bytes of a repository's files over HTTP, and goes on where a connection broke.

`huggingface_hub` has the addresses, the login and the session. Its own retries begin a range anew and wait as
long as a server asks for, so waiting and going on are here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from p2pinfer.errors import HubUnreachableError, ModelError
from p2pinfer.model.formats.hub.patience import PATIENCE, Patience
from p2pinfer.model.formats.hub.repository import HubRepository, gated, is_http_error, said_by, unknown
from p2pinfer.plain_text import foreign

_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")
_FORGOTTEN = (400, 401, 403, 404, 410)
_PASSING = (408, 425, 429)


class HubFiles:
    """The files of one repository at its commit. Threads may share it."""

    def __init__(
        self,
        repository: HubRepository,
        *,
        patience: Patience = PATIENCE,
        on_received: Callable[[int], None] = lambda count: None,
    ) -> None:
        """`on_received` is told of every piece that comes, in bytes: for a bar, or for a count."""
        self._repository = repository
        self._patience = patience
        self._on_received = on_received
        self._sizes: dict[str, int] = {}
        self._locations: dict[str, str] = {}  # where the hub sent us: asking there saves the hub a question

    def size_bytes(self, name: str) -> int:
        """How long a file is of which a part was read already."""
        return self._sizes[name]

    def whole(self, name: str, most_bytes: int) -> bytes:
        """A small file. Raises ModelError if it is larger, and HubUnreachableError if it can't be had now."""
        data = bytearray()

        def attempt() -> int:
            data.clear()
            with self._answer(name, {}) as response:
                if response.status_code != 200:
                    raise ModelError(f"the hub answers {response.status_code} for {self._words(name)}")
                for piece in self._pieces(response):
                    if len(data) + len(piece) > most_bytes:
                        raise ModelError(f"{self._words(name)} has more than {most_bytes:,} bytes")
                    data.extend(piece)
            return 0

        self._until_done(name, attempt, lambda: 0)
        return bytes(data)

    def read(self, name: str, start: int, end: int) -> bytearray:
        """The bytes [start, end) of a file; fewer only where the file ends.

        Raises ModelError if the answer isn't what was asked for, and HubUnreachableError after too many
        failures in a row.
        """
        data = bytearray(end - start)
        got = 0

        def attempt() -> None:
            nonlocal got
            with self._answer(name, {"Range": f"bytes={start + got}-{end - 1}"}) as response:
                stop = self._range_end(name, response, start + got, end)
                for piece in self._pieces(response):
                    if start + got + len(piece) > stop:
                        raise ModelError(f"the hub sends more of {self._words(name)} than was asked for")
                    data[got : got + len(piece)] = piece
                    got += len(piece)
            if start + got < min(end, self._sizes[name]):
                raise _BrokenError("the answer ends early")

        if start < end:
            self._until_done(name, attempt, lambda: got)
        return data[:got] if got < len(data) else data

    def _until_done(self, name: str, attempt: Callable[[], object], progress: Callable[[], int]) -> None:
        failures = 0
        while True:
            before = progress()
            try:
                attempt()
            except _BrokenError as error:
                broken = error
            except Exception as error:
                if not is_http_error(error) and not isinstance(error, OSError):
                    raise
                broken = _BrokenError(said_by(error), for_good=_is_offline(error))
            else:
                return
            self._locations.pop(name, None)
            failures = 1 if progress() - before >= self._patience.enough_bytes else failures + 1
            if broken.for_good or failures > self._patience.most_failures:
                raise HubUnreachableError(
                    f"{self._words(name)} can't be read from the hub ({broken}): try again later"
                )
            wait_seconds = max(self._patience.backoff.seconds(failures), broken.wait_seconds)
            self._patience.sleep(min(wait_seconds, self._patience.most_wait_seconds))

    @contextmanager
    def _answer(self, name: str, headers: Mapping[str, str]) -> Iterator[Any]:
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # in its documents

        repository, patience = self._repository, self._patience
        location = self._locations.get(name)
        url = location or hf_hub_url(
            repository.id, name, revision=repository.revision, endpoint=repository.endpoint
        )
        sent = {**headers, "Accept-Encoding": "identity"} | ({} if location else build_hf_headers())
        timeout = (
            patience.connect_seconds,
            patience.silent_seconds,
            patience.silent_seconds,
            patience.connect_seconds,
        )
        with get_session().stream(
            "GET", url, headers=sent, timeout=timeout, follow_redirects=True
        ) as response:
            self._check(name, response, has_location=location is not None)
            if response.history and _host(response.url) != _host(response.history[0].url):
                self._locations[name] = str(response.url)
            yield response

    def _check(self, name: str, response: Any, *, has_location: bool) -> None:
        status, code = response.status_code, response.headers.get("X-Error-Code")
        if status in (200, 206):
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise ModelError(f"the hub sends {self._words(name)} compressed, which wasn't asked for")
            return
        if status >= 500 or status in _PASSING:
            raise _BrokenError(f"status {status}", wait_seconds=_retry_after_seconds(response))
        if status in _FORGOTTEN and (has_location or _host(response.url) != self._host_of(response)):
            raise _BrokenError(f"status {status} where the hub sent us")  # a link that has expired
        if code == "GatedRepo" or status == 403:
            raise gated(self._repository.id)
        if code == "RepoNotFound" or status == 401:
            raise unknown(self._repository.id)
        raise ModelError(f"the hub answers {status} ({foreign(code or 'no reason')}) for {self._words(name)}")

    def _host_of(self, response: Any) -> Any:
        return _host(response.history[0].url if response.history else response.url)

    def _range_end(self, name: str, response: Any, start: int, end: int) -> int:
        """Where the answer ends. Raises ModelError if it isn't the range that was asked for."""
        if response.status_code == 200:
            raise ModelError(
                f"the hub, or a proxy on the way, sends all of {self._words(name)} where a part was "
                "asked for: download the model, and convert its folder"
            )
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        first, last, total = map(int, found.groups()) if found else (-1, -1, -1)
        known = self._sizes.setdefault(name, total) if found else -1
        if first != start or not start <= last < min(end, total) or total != known:
            raise ModelError(f"the hub sends other bytes of {self._words(name)} than were asked for")
        return last + 1

    def _pieces(self, response: Any) -> Iterator[bytes]:
        """The body. Raises _BrokenError where it comes so slowly that another connection is better."""
        patience = self._patience
        began, count = time.monotonic(), 0
        for piece in response.iter_raw():
            self._on_received(len(piece))
            count += len(piece)
            yield piece
            if time.monotonic() - began > patience.slow_seconds:
                if count < patience.slow_bytes:
                    raise _BrokenError(f"only {count} bytes in {patience.slow_seconds:.0f} s")
                began, count = time.monotonic(), 0

    def _words(self, name: str) -> str:
        return f"{name} of {self._repository.id}"


class _BrokenError(Exception):
    """What another try may make good."""

    def __init__(self, reason: str, *, wait_seconds: float = 0.0, for_good: bool = False) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds
        self.for_good = for_good


def _is_offline(error: Exception) -> bool:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error, OfflineModeIsEnabled)


def _host(url: Any) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _retry_after_seconds(response: Any) -> float:
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0
