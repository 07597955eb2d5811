"""OpenAI's batch input: one request in each line, as JSON.

    {"custom_id": "a-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": ..., ...}}

What the body means is checked when its turn comes: 100,000 lines are read within seconds.
https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NoReturn, Protocol

from p2pinfer.documents.inputs.wrong_document import WrongDocument
from p2pinfer.documents.jobs.job import Document
from p2pinfer.openai_api.errors import ApiError
from p2pinfer.openai_api.whole_answers import BATCH_URLS
from p2pinfer.outside.plain_json import read_json
from p2pinfer.plain_text import bytes_in_words, printable

MOST_LINE_BYTES = 8 << 20
"""As a request to the gateway has at most."""
MOST_LINES = 1_000_000
MOST_ID_CHARACTERS = 512

_SKIPPED_BYTES = 1 << 20
_FIELDS = ("custom_id", "method", "url", "body")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Readable(Protocol):
    """A file of bytes."""

    def readline(self, size: int, /) -> bytes:
        """The next line, or `size` bytes of it; empty at the end."""


def read_batch(file: Readable) -> Iterator[Document | WrongDocument]:
    """The documents of a batch file, one by one; lines of blanks are none.

    A custom_id counts once: a later line with the same one is wrong. Lines after the first MOST_LINES are
    one wrong document. Holds one line and 16 bytes of each custom_id. Raises what
    reading raises.
    """
    seen: set[bytes] = set()
    number = 0
    for line, data in enumerate(_lines(file), start=1):
        if data is not None and not data.strip():
            continue
        try:
            if number == MOST_LINES:
                raise _LineError("too_many_lines", f"a job has {MOST_LINES:,} lines at most: split the file")
            document = _parsed(data, number)
            digest = blake2b(document.custom_id.encode(), digest_size=16).digest()
            if digest in seen:
                raise _LineError(
                    "duplicate_custom_id",
                    f"an earlier line has the custom_id {printable(document.custom_id, 100)!r}, too",
                    param="custom_id",
                    custom_id=document.custom_id,
                )
            seen.add(digest)
            yield document
        except _LineError as wrong:
            error = ApiError(400, f"Line {line}: {wrong.message}.", param=wrong.param, code=wrong.code)
            yield WrongDocument(number=number, line=line, custom_id=wrong.custom_id, error=error)
            if number == MOST_LINES:
                return
        number += 1


class _LineError(Exception):
    """What is wrong with a line."""

    def __init__(self, code: str, message: str, *, param: str | None = None, custom_id: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.custom_id = custom_id


def _lines(file: Readable) -> Iterator[bytes | None]:
    """The lines, without a byte order mark; None for one that is too long."""
    is_first = True
    while data := file.readline(MOST_LINE_BYTES + 1):
        if is_first:
            data, is_first = data.removeprefix(_BYTE_ORDER_MARK), False
        if len(data) <= MOST_LINE_BYTES:
            yield data
            continue
        while data and not data.endswith(b"\n"):
            data = file.readline(_SKIPPED_BYTES)
        yield None


def _parsed(data: bytes | None, number: int) -> Document:
    if data is None:
        raise _LineError(
            "line_too_long", f"it is longer than {bytes_in_words(MOST_LINE_BYTES)}, the most of a request"
        )
    fields = _json(data)
    if not isinstance(fields, dict):
        raise _LineError("invalid_json_line", "a JSON object is expected, with " + ", ".join(_FIELDS))
    custom_id = _custom_id(fields)
    try:
        _check(fields)
    except _LineError as wrong:
        wrong.custom_id = custom_id
        raise
    return Document(number=number, custom_id=custom_id, url=fields["url"], body=fields["body"])


def _json(data: bytes) -> Any:
    try:
        return read_json(data.decode(), parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise _LineError("invalid_json_line", f"it isn't UTF-8 (byte {error.start + 1})") from error
    except ValueError as error:  # malformed, nested too deeply, or a number of thousands of digits
        raise _LineError("invalid_json_line", f"it isn't JSON ({error})") from error


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


def _custom_id(fields: dict[str, Any]) -> str:
    custom_id = _field(fields, "custom_id", str, "a text")
    if not 0 < len(custom_id) <= MOST_ID_CHARACTERS:
        raise _LineError(
            "invalid_value",
            f"'custom_id' has to have 1 to {MOST_ID_CHARACTERS} characters",
            param="custom_id",
        )
    try:
        custom_id.encode()
    except UnicodeEncodeError as error:
        raise _LineError("invalid_value", "'custom_id' has half a character", param="custom_id") from error
    return str(custom_id)


def _check(fields: dict[str, Any]) -> None:
    if fields.get("method") != "POST":
        raise _LineError("invalid_method", "'method' has to be \"POST\"", param="method")
    url = _field(fields, "url", str, "a text")
    if url not in BATCH_URLS:
        raise _LineError("invalid_url", f"'url' has to be one of {', '.join(BATCH_URLS)}", param="url")
    _field(fields, "body", dict, "an object: the request")
    for name in fields:
        if name not in _FIELDS:
            shown = printable(name, 100)
            raise _LineError("unknown_parameter", f"'{shown}' is unknown: a line has {', '.join(_FIELDS)}")


def _field(fields: dict[str, Any], name: str, kind: type, expected: str) -> Any:
    if name not in fields:
        raise _LineError("missing_required_parameter", f"'{name}' is missing", param=name)
    if not isinstance(fields[name], kind):
        raise _LineError("invalid_value", f"'{name}' has to be {expected}", param=name)
    return fields[name]
