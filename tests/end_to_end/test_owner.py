"""The owner's rules and share, on real processes: the owner benchmarks in their short form."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from p2pinfer.model.layer_store.store import LayerStore

ROOT = Path(__file__).parents[2]


def run(module: str, folder: Path, *flags: str) -> dict[str, Any]:
    """The JSON file of a benchmark; its output is shown if the test fails."""
    json_file = folder / "measured.json"
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.benchmarks.owner.{module}", "--json", str(json_file), *flags],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stderr, done.stdout, sep="\n")
    assert done.returncode == 0
    measured: dict[str, Any] = json.loads(json_file.read_text())
    return measured


@pytest.mark.timeout(300)
def test_a_car_that_drives_off_in_mid_answer_changes_no_text_says_why_and_comes_back(
    smollm2: LayerStore, tmp_path: Path
):
    """Gear D comes from a real MQTT broker. The script itself fails if the text differs, or the car stays."""
    measured = run("command", tmp_path, "--rounds", "1")

    [one] = measured["rounds"]
    assert one["words"].startswith("gear is D")
    assert one["signal_to_draining"] <= one["signal_to_drained"]
    assert measured["signed_layer_tokens"] > 0
    assert "stopped: gear is D" in measured["statement"]
    assert " valid" in measured["redeemed"]


@pytest.mark.timeout(300)
def test_a_server_killed_while_it_writes_its_ledger_loses_no_receipt_that_it_has_acknowledged(
    smollm2: LayerStore, tmp_path: Path
):
    """The server gets SIGKILL three times here; scripts/bench_ledger does it twenty times."""
    measured = run("ledger", tmp_path, "--kills", "3")

    assert len(measured["sessions"]) == 3
    assert measured["failed"] == []
