"""Lines on a terminal, in a pipe or in a file, in every locale.

`say` and `complain` report on work that goes on without them: they never raise and never block. `show` prints
what the user asked the program for: where that can't be written, the program has failed, and `show` raises.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from p2pinfer.command_line.bottom_line import say_above, wipe
from p2pinfer.command_line.speaker import send_nowhere, speaker_of
from p2pinfer.errors import P2PInferError

_REPLACE = "p2pinfer.replace"
_LAST_LINES_SECONDS = 1.0
"""How long a program that ends waits for a slow reader."""
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


class OutputLostError(P2PInferError):
    """The result of a program can't be written."""


class ReaderGoneError(OutputLostError):
    """The program that reads the output has ended, as `head` does early."""


def say(line: str) -> None:
    """Print a line on standard output at once. Never raises, and never waits for a reader.

    The line comes later where the reader sleeps (a stopped pager, Ctrl-S). It is lost where nobody reads the
    pipe, the disk is full or the output is closed. A character that the locale's encoding lacks becomes `?`.
    """
    _say(sys.stdout, line)


def complain(line: str) -> None:
    """Print a line on standard error at once, like `say`."""
    _say(sys.stderr, line)


def show(text: str = "") -> None:
    """Print the result of a program, one line or several. Raises OutputLostError."""
    with printing():
        if sys.stdout is not None:
            wipe()
            _wait_said(sys.stdout, None)
            _write(sys.stdout, f"{text}\n")


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """Let the block print a result with `print`, too. Raises OutputLostError for what can't be written.

    A standard output that the user has closed (`>&-`) is no error.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError as error:
        raise ReaderGoneError("nobody reads the output") from error
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise  # not an error of the output
        raise OutputLostError(f"the output can't be written: {error.strerror}") from error


def has_color(stream: TextIO | None) -> bool:
    """True if colours may be sent: to a terminal that shows them, unless NO_COLOR is set (no-color.org)."""
    if stream is None or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    with contextlib.suppress(ValueError):  # closed
        return stream.isatty()
    return False


def replace_unprintable() -> None:
    """Let plain `print` replace characters that the locale lacks, too, instead of raising."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        with contextlib.suppress(ValueError, OSError):
            sys.stdout.reconfigure(errors=_REPLACE)


def open_closed_streams() -> None:
    """Lead standard streams that the caller has closed (`>&-`) to /dev/null.

    Otherwise the next file that is opened, such as the ledger, gets the number of the output, and what a
    library prints lands in it. And libraries fail where `sys.stderr` is None.
    """
    while (nowhere := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(nowhere, True)
    os.close(nowhere)
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - open for as long as the program runs
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115


def end_quietly() -> None:
    """Write what is still buffered, or drop it, when a program ends and before Python does so.

    Python would print "Exception ignored ... BrokenPipeError" and change the exit status to 120.
    """
    wipe()
    for stream in (sys.stdout, sys.stderr):
        try:
            if not _wait_said(stream, _LAST_LINES_SECONDS):
                drop_output(stream)
            if stream is not None:
                stream.flush()
        except OSError:
            drop_output(stream)
        except ValueError:  # closed
            pass


def drop_output(stream: TextIO | None) -> None:
    """Send everything that is written to `stream` from now on, and what it still holds, nowhere."""
    if (descriptor := _descriptor(stream)) is not None:
        send_nowhere(descriptor)


def _say(stream: TextIO | None, line: str) -> None:
    if stream is None:
        return
    if (descriptor := _descriptor(stream)) is None:
        with contextlib.suppress(OSError, ValueError):  # closed
            _write(stream, f"{line}\n")
        return
    data = f"{line}\n".encode(stream.encoding or "ascii", _REPLACE)
    say_above(descriptor, data)


def _descriptor(stream: TextIO | None) -> int | None:
    """The file descriptor of a stream that has one and isn't closed."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        return None if stream is None else stream.fileno()
    return None


def _wait_said(stream: TextIO | None, seconds: float | None) -> bool:
    """Wait until every line that was said on `stream` is written; False if some still wait."""
    descriptor = _descriptor(stream)
    return descriptor is None or speaker_of(descriptor).wait_written(seconds)


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError:
        stream.write(text.encode(stream.encoding, _REPLACE).decode(stream.encoding, "replace"))


def _replacement(error: UnicodeError) -> tuple[bytes, int]:
    """`?` for what an encoding lacks. Bytes of a file's name that the locale can't read stay as they are."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = map(ord, error.object[error.start : error.end])
    return bytes(sign - 0xDC00 if 0xDC80 <= sign <= 0xDCFF else ord("?") for sign in signs), error.end


codecs.register_error(_REPLACE, _replacement)
