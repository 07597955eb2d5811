"""scripts/bench_chaos in its short form: servers die, fall silent and leave, and no text changes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from p2pinfer.model.layer_store.store import LayerStore

ROOT = Path(__file__).parents[2]
UNAVAILABLE_STATUS = 77
MARK = "P2PINFER_TEST_MARK"
SHORT = ("--every", "3", "--tokens", "128")
"""Every kind of fault happens once before any happens twice: five faults are more than one round."""


def command(*flags: str) -> list[str]:
    return [sys.executable, "-m", "scripts.benchmarks.chaos.command", *flags]


def environment(mark: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), MARK: mark}


def left_behind(mark: str) -> list[str]:
    """Command lines of processes that a run with this mark started, and that still run."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def run(folder: Path, *flags: str) -> dict[str, Any]:
    """The JSON file of a run; its table is printed. Skips the test where there can be no lab."""
    mark, json_file = folder.name, folder / "chaos.json"
    done = subprocess.run(
        command("--json", str(json_file), *flags), env=environment(mark), capture_output=True, text=True
    )
    if done.returncode == UNAVAILABLE_STATUS:
        pytest.skip(done.stderr.strip().splitlines()[-1])
    print(done.stderr, done.stdout, sep="\n")
    assert json_file.exists(), done.stderr[-4000:]
    assert not left_behind(mark)
    measured: dict[str, Any] = json.loads(json_file.read_text())
    assert (done.returncode == 0) is measured["summary"]["well"]
    return measured


def check(measured: dict[str, Any], kinds: set[str]) -> None:
    """There were faults of all kinds, they hit servers in use, and no text changed."""
    summary = measured["summary"]
    assert measured["problems"] == []
    assert summary["failed"] == []
    assert {fault["kind"] for fault in measured["faults"]} == kinds
    assert summary["done"] >= len(measured["clients"])
    assert summary["identical_tokens"] == summary["compared_tokens"] > 0
    assert summary["replaced_hops"] > 0


@pytest.mark.timeout(600)
def test_no_text_changes_while_servers_are_killed_stopped_and_drained(smollm2: LayerStore, tmp_path: Path):
    """A fault every three seconds, five in all, among nine servers on loopback; four sessions."""
    measured = run(tmp_path, *SHORT, "--minutes", "0.3", "--seed", "1")

    check(measured, {"killed", "stopped", "drained"})


@pytest.mark.timeout(600)
def test_no_text_changes_while_links_between_homes_are_cut_as_well(smollm2: LayerStore, tmp_path: Path):
    """The run on the WAN lab: each server and each client is on a home-cable host of its own."""
    measured = run(tmp_path, *SHORT, "--minutes", "0.3", "--seed", "2", "--profile", "home-cable")

    check(measured, {"killed", "stopped", "cut", "drained"})


@pytest.mark.timeout(300)
def test_ctrl_c_ends_servers_and_clients(smollm2: LayerStore, tmp_path: Path):
    """The interrupt comes in the middle of a fault: no stopped server is left behind."""
    with subprocess.Popen(
        command(
            *("--minutes", "1", "--every", "1", "--only", "stopped", "--sessions", "1", "--tokens", "96"),
            *("--json", str(tmp_path / "chaos.json")),
        ),
        env=environment(tmp_path.name),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if " stopped, " in line:
                process.send_signal(signal.SIGINT)
                break
        else:
            pytest.fail("it ended without a fault")
        process.stderr.read()
        assert process.wait(60) == 128 + signal.SIGINT

    deadline = time.monotonic() + 60  # p2pd ends by itself when its server is gone
    while left_behind(tmp_path.name) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left_behind(tmp_path.name)
