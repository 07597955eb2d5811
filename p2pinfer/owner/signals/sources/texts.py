"""Signals from the text in a file, or from the output of a command."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal as signals
from collections.abc import Callable

from p2pinfer.owner.plain_file import read_plain_file
from p2pinfer.owner.signals.config import Command, FileText
from p2pinfer.owner.signals.meaning import MAX_PAYLOAD_BYTES, Told, make_sense, text_of
from p2pinfer.owner.signals.readings import KINDS, Signal
from p2pinfer.owner.signals.trouble import SourceError

_WRITE_IT = "start the program that writes it"
_TRY_IT = "try it in a terminal"
_REAPING_SECONDS = 0.5


def look_at_file(signal: Signal, file: FileText, *, now: Callable[[], float]) -> Told:
    """Read a file; may block. The age of the text is the time since the file's last change."""
    payload, changed_at = _read(file.path)
    age, most = now() - changed_at, file.meaning.max_age_seconds
    if most is not None and age > most:
        raise SourceError(
            f"it was last written {age:.0f} s ago, more than {most:g} s", kind="old", advice=_WRITE_IT
        )
    subject = os.path.splitext(os.path.basename(file.path))[0]
    return make_sense(text_of(payload), file.meaning, KINDS[signal], subject=subject)


async def look_by_command(signal: Signal, command: Command) -> Told:
    """Run a command and take its first line of output. It has to exit with status 0, and in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # in a process group of its own, which can be killed as a whole
        )
    except (OSError, ValueError) as error:
        raise SourceError(
            f"it can't be run ({_reason(error)})", kind="not run", advice="correct it in [signals]"
        ) from None
    finished = False
    try:
        async with asyncio.timeout(command.timeout_seconds):
            printed, complaints = await asyncio.gather(_most_of(process.stdout), _most_of(process.stderr))
            status = await process.wait()
            finished = True
    except TimeoutError:
        words = f"it takes longer than {command.timeout_seconds:g} s"
        raise SourceError(words, kind="slow", advice=_TRY_IT) from None
    finally:
        if not finished:
            await _kill(process)
    if status != 0:
        last = complaints.decode(errors="replace").strip().rpartition("\n")[2].strip()
        how = f"it ended with status {status}" if status > 0 else f"it was ended by signal {-status}"
        raise SourceError(f"{how}: {last}" if last else how, kind="failed", advice=_TRY_IT)
    line = text_of(printed).partition("\n")[0].strip()
    subject = os.path.splitext(os.path.basename(command.arguments[0]))[0]
    return make_sense(line, command.meaning, KINDS[signal], subject=subject)


def _read(path: str) -> tuple[bytes, float]:
    """The file's content, and the time of its last change. Raises SourceError."""
    try:
        return read_plain_file(os.path.expanduser(path), most_bytes=MAX_PAYLOAD_BYTES)
    except FileNotFoundError:
        raise SourceError("there is no such file", kind="no file", advice=_WRITE_IT) from None
    except OSError as error:
        raise SourceError(f"it can't be read ({_reason(error)})", kind="not read") from None


def _reason(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


async def _most_of(stream: asyncio.StreamReader | None) -> bytes:
    """Read to the end, and keep at most one byte more than a source may send."""
    assert stream is not None, "the process was started with a pipe"
    kept = bytearray()
    while chunk := await stream.read(MAX_PAYLOAD_BYTES):
        kept += chunk[: MAX_PAYLOAD_BYTES + 1 - len(kept)]
    return bytes(kept)


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill the command and every process that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signals.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_REAPING_SECONDS):
            await asyncio.gather(_most_of(process.stdout), _most_of(process.stderr))
            await process.wait()
