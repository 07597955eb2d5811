"""The memory that a server can take: the machine's, within the limits of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.server.machine.memory import available_memory_bytes


class Cgroups:
    """A tree of control groups: ours below its service's."""

    def __init__(self, folder: Path) -> None:
        self._own = folder / "proc"
        self._own.write_text("0::/service/ours\n")
        self._tree = folder / "tree"
        (self._tree / "service" / "ours").mkdir(parents=True)

    def limit(self, group: str, most: str, used: int) -> None:
        (self._tree / group / "memory.max").write_text(f"{most}\n")
        (self._tree / group / "memory.current").write_text(f"{used}\n")

    def available_bytes(self) -> int:
        return available_memory_bytes(cgroups=self._tree, own_cgroup=self._own)


@pytest.fixture
def cgroups(tmp_path: Path) -> Cgroups:
    return Cgroups(tmp_path)


def test_without_a_limit_the_machines_memory_counts(cgroups):
    cgroups.limit("service/ours", "max", 10)
    assert cgroups.available_bytes() > 1 << 20


def test_the_tightest_limit_above_us_counts(cgroups):
    cgroups.limit("service", "5000", 2000)
    cgroups.limit("service/ours", "9000", 100)
    assert cgroups.available_bytes() == 3000


def test_a_limit_that_is_reached_leaves_nothing(cgroups):
    cgroups.limit("service/ours", "5000", 6000)
    assert cgroups.available_bytes() == 0
