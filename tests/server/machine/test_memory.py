"""What a server asks of its operating system."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.server.life import machine
from p2pinfer.server.life.machine import available_memory_bytes, processors


@pytest.fixture
def cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of control groups, ours below its service's."""
    own = tmp_path / "proc"
    own.write_text("0::/service/ours\n")
    monkeypatch.setattr(machine, "_OWN_CGROUP", own)
    (tmp_path / "tree" / "service" / "ours").mkdir(parents=True)
    return tmp_path / "tree"


def limit(folder: Path, most: str, used: int) -> None:
    (folder / "memory.max").write_text(f"{most}\n")
    (folder / "memory.current").write_text(f"{used}\n")


def test_without_a_limit_the_machines_memory_counts(cgroups):
    limit(cgroups / "service" / "ours", "max", 10)
    assert available_memory_bytes(cgroups) > 1 << 20


def test_the_tightest_limit_above_us_counts(cgroups):
    limit(cgroups / "service", "5000", 2000)
    limit(cgroups / "service" / "ours", "9000", 100)
    assert available_memory_bytes(cgroups) == 3000


def test_a_limit_that_is_reached_leaves_nothing(cgroups):
    limit(cgroups / "service" / "ours", "5000", 6000)
    assert available_memory_bytes(cgroups) == 0


def test_there_is_a_processor():
    assert processors() >= 1
