"""scripts/bench_join in its short form: a real server gets its share through the lab, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from p2pinfer.model.layer_store.store import LayerStore

ROOT = Path(__file__).parents[2]
UNAVAILABLE_STATUS = 77
MARK = "P2PINFER_TEST_MARK"


def is_marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except psutil.Error:
        return False


@pytest.mark.timeout(300)
def test_a_server_that_joins_receives_and_keeps_its_share_alone(smollm2: LayerStore, tmp_path: Path):
    """From one seeder on a home line; no process is left behind."""
    json_file, mark = tmp_path / "join.json", tmp_path.name
    command = [sys.executable, "-m", "scripts.benchmarks.join.command", "--model", str(smollm2.folder)]
    done = subprocess.run(
        [*command, "--quick", "--only", "one", "--json", str(json_file)],
        env=os.environ | {"PYTHONPATH": str(ROOT), MARK: mark},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == UNAVAILABLE_STATUS:
        pytest.skip(done.stderr.strip().splitlines()[-1])

    assert done.returncode == 0, done.stderr[-4000:]
    assert not [process for process in psutil.process_iter() if is_marked(process, mark)]
    (run,) = json.loads(json_file.read_text())["one"]["1"]
    (joiner,) = run["joiners"]
    share = smollm2.manifest.files["layers/00000.safetensors"].bytes * 3
    assert joiner["needed_bytes"] == joiner["payload_bytes"] == share
    assert share < joiner["down_bytes"] <= 1.1 * share
    assert joiner["disk_bytes"] <= 1.1 * share
    assert "1 joiner, 1 seeder: received, of its share" in done.stdout
