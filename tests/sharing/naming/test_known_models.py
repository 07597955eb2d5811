"""The memory of names: it survives, it is small, and it never stops anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.sharing.naming.known_models import FILE, MOST_MODELS, KnownModel, KnownModels

ROOT = Path(__file__).parents[3]
A, B = "a" * 64, "b" * 64


class Memory:
    """A file of known models, and what was warned of."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self.warnings: list[str] = []
        self.known = KnownModels.of(folder, self.warnings.append)


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "cache")


def test_nothing_is_known_at_first(memory: Memory):
    assert memory.known.read() == {}
    assert memory.warnings == []
    assert not memory.path.parent.exists()


def test_a_name_keeps_since_when_it_has_its_hash(memory: Memory):
    memory.known.remember("x", A, at=100.0)
    memory.known.remember("x", A, at=200.0)
    assert memory.known.read() == {"x": KnownModel(hash=A, first_seen=100.0, last_seen=200.0)}

    memory.known.remember("x", B, at=300.0)
    assert memory.known.read() == {"x": KnownModel(hash=B, first_seen=300.0, last_seen=300.0)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"version": 2, "models": {}}',
        b'{"version": 1, "models": []}',
        b'{"version": 1, "models": {"x": "y"}}',
        b'{"version": 1, "models": {"x": {"hash": "A", "first_seen": 1, "last_seen": 1}}}',
        json.dumps({"version": 1, "models": {"x": {"hash": A, "first_seen": "1", "last_seen": 1}}}).encode(),
        json.dumps({"version": 1, "models": {"x": {"hash": A, "first_seen": None, "last_seen": 1}}}).encode(),
        b'{"version": 1, "models": {"x": {"hash": "'
        + A.encode()
        + b'", "first_seen": NaN, "last_seen": 1}}}',
        b"[" * 100_000,
        b" " * (2 << 20),
    ],
)
def test_a_damaged_file_is_set_aside_with_a_warning_and_a_new_one_begun(memory: Memory, content: bytes):
    memory.path.parent.mkdir()
    memory.path.write_bytes(content)

    assert memory.known.read() == {}
    assert len(memory.warnings) == 1
    assert "is damaged" in memory.warnings[0]
    assert memory.path.with_name(f"{FILE}.damaged").read_bytes() == content
    memory.known.remember("x", A, at=1.0)
    assert set(memory.known.read()) == {"x"}


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("")
    memory = Memory(tmp_path / "file")
    memory.known.remember("x", A, at=1.0)

    assert memory.known.read() == {}
    assert "can't be written" in memory.warnings[0]


def test_a_file_that_cannot_be_read_is_not_replaced(memory: Memory):
    memory.path.mkdir(parents=True)
    memory.known.remember("x", A, at=1.0)

    assert memory.known.read() == {}
    assert memory.path.is_dir()
    assert len(memory.warnings) == 2


def test_what_was_not_seen_for_longest_is_forgotten_first(memory: Memory):
    models = {
        f"m{number}": {"hash": A, "first_seen": number, "last_seen": number} for number in range(MOST_MODELS)
    }
    memory.path.parent.mkdir()
    memory.path.write_text(json.dumps({"version": 1, "models": models}))
    memory.known.remember("new", B, at=5000.0)

    known = memory.known.read()
    assert len(known) == MOST_MODELS
    assert "new" in known and "m0" not in known and "m1" in known


def test_several_processes_lose_nothing(memory: Memory):
    program = (
        "import sys; from pathlib import Path; from p2pinfer.sharing.naming.known_models import KnownModels\n"
        "known = KnownModels.of(Path(sys.argv[1]), print)\n"
        "for number in range(20): known.remember(f'{sys.argv[2]}-{number}', 'a' * 64, at=1.0)\n"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(memory.path.parent), str(who)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        for who in range(3)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]

    assert len(memory.known.read()) == 60
    assert memory.warnings == []
