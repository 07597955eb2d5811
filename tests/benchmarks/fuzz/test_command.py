"""The command as a program: a table without findings, and a finding that is repeated."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmarks.fuzz import command
from scripts.benchmarks.fuzz.worker import Note
from tests.fuzz.trying import Culprit


@pytest.mark.timeout(120)
def test_a_table_says_what_each_reader_was_fed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    """Fewer inputs than promised are a goal that is missed, and the status says so."""
    arguments = ["bench_fuzz", "--reader", "hellos,tunnels", "--inputs", "3000", "--processes", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--keep", str(tmp_path / "kept")])
    assert command.measure(command.parse_flags()) == 1
    printed = capsys.readouterr().out.splitlines()

    assert [line.split()[0] for line in printed[:3]] == ["reader", "hellos", "tunnels"]
    assert printed[3].startswith("3,000 inputs")
    assert [line.split()[-1] for line in printed[-3:]] == ["MISSED", "met", "met"]
    assert not (tmp_path / "kept").exists()


def test_one_input_is_repeated_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    (tmp_path / "input").write_bytes(b"no hello")
    monkeypatch.setattr("sys.argv", ["bench_fuzz", "--reader", "hellos", "--repeat", str(tmp_path / "input")])
    assert command.measure(command.parse_flags()) == 0
    assert capsys.readouterr().out == "refused: ProtocolError: a lane begins with its hello\n"


def test_what_a_process_was_at_outlives_it(tmp_path: Path):
    Note(tmp_path / "note").note(7, b"bytes")
    assert Note(tmp_path / "note").read() == Culprit(7, b"bytes")
    long = bytes(1 << 21)
    Note(tmp_path / "note").note(8, long)
    found = Note(tmp_path / "note").read()
    assert found.number == 8 and long.startswith(found.data)
