"""A server whose output can't be written obeys its owner as fast as any other: real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.owner.consent import revoke_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import read_statuses

ROOT = Path(__file__).parents[2]
READY_SECONDS = 60.0
OBEYED_SECONDS = 20.0
POLICY = """\
version = 1
[when]
parked = true
[signals]
parked = {{ file = "{}/parked" }}
poll_seconds = 0.2
"""


def full_pipe() -> tuple[int, int]:
    """A pipe without room, as behind a stopped pager: its reading and its writing end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 512)
    os.set_blocking(writing, True)
    return reading, writing


def await_state(files: OwnerFiles, state: OwnerState, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(status.state is state for status in read_statuses(files.statuses)):
            return
        time.sleep(0.05)
    raise AssertionError(f"not {state} within {seconds:.0f} s: {read_statuses(files.statuses)}")


@contextlib.contextmanager
def server(store: LayerStore, folder: Path, output: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that serves, started by a shell with its output as `output` says."""
    (folder / "parked").write_text("true")
    OwnerFiles(folder).policy.write_text(POLICY.format(folder))
    reading, writing = full_pipe()
    command = [sys.executable, "-m", "p2pinfer.server", str(store.folder), "--layers", "0:2", "--accept"]
    command += ["--listen", "127.0.0.1:0", "--data-folder", str(folder), "--max-cache-tokens", "2048"]
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$0" "$@" {output}', *command],
        cwd=ROOT,
        stdout=writing,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writing)
    try:
        await_state(OwnerFiles(folder), OwnerState.SERVING, READY_SECONDS)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(reading)


def revoke(process: subprocess.Popen[bytes], files: OwnerFiles) -> None:
    revoke_consent(files.consent)


def drive_off(process: subprocess.Popen[bytes], files: OwnerFiles) -> None:
    (files.folder / "parked").write_text("false")
    await_state(files, OwnerState.PAUSED, OBEYED_SECONDS)
    process.terminate()


def terminate(process: subprocess.Popen[bytes], files: OwnerFiles) -> None:
    process.terminate()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wish", [revoke, drive_off, terminate])
@pytest.mark.parametrize("output", ["2>&1", ">&- 2>&-", ">/dev/full 2>&1"])
def test_a_server_whose_output_cannot_be_written_obeys_its_owner(
    smollm2: LayerStore,
    tmp_path: Path,
    output: str,
    wish: Callable[[subprocess.Popen[bytes], OwnerFiles], None],
):
    """Into a pipe that nobody reads, which is full (`2>&1`); closed by the shell; onto a full disk."""
    with server(smollm2, tmp_path, output) as process:
        wish(process, OwnerFiles(tmp_path))
        await_state(OwnerFiles(tmp_path), OwnerState.OFF, OBEYED_SECONDS)

        assert process.wait(OBEYED_SECONDS) == 0
