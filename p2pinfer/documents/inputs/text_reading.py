"""Reads one text file. What isn't a text is an error of that document alone."""

from __future__ import annotations

import os
import stat

from p2pinfer.openai_api.errors import ApiError
from p2pinfer.plain_text import bytes_in_words

MOST_TEXT_BYTES = 16 << 20

_BYTE_ORDER_MARK = "\ufeff"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text(path: str) -> str:
    """The text of a file in UTF-8, without a byte order mark.

    Raises ApiError, which says what is wrong with the file and doesn't name it. Never waits for a pipe.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _unreadable("it is no file of its own, but a pipe or a device")
            data = file.read(MOST_TEXT_BYTES + 1)
    except OSError as error:
        raise _unreadable(f"it can't be read: {error.strerror}") from error
    if len(data) > MOST_TEXT_BYTES:
        most = bytes_in_words(MOST_TEXT_BYTES)
        raise _unreadable(f"it has more than {most}, the most of a document: split it")
    return _decoded(data)


def _decoded(data: bytes) -> str:
    if data.startswith(_UTF_16):
        raise _unreadable("it is UTF-16 text: convert it, as `iconv -f UTF-16 -t UTF-8` does")
    try:
        text = data.decode().removeprefix(_BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        raise _unreadable(
            f"it isn't UTF-8 text (byte {error.start + 1}): convert it, such as with iconv"
        ) from error
    if "\0" in text:
        raise _unreadable("it is no text: it has zero bytes")
    if not text.strip():
        raise _unreadable("it is empty")
    return text


def _unreadable(reason: str) -> ApiError:
    return ApiError(400, f"The file can't be used: {reason}.", code="unreadable_file")
