"""`python -m p2pinfer.owner` as its user sees it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from p2pinfer.errors import LedgerError, UsageError
from p2pinfer.owner.__main__ import main
from p2pinfer.owner.commands import export, redeem, statement

ROOT = Path(__file__).parent.parent.parent


def test_help_lists_every_command_in_a_line(capsys: pytest.CaptureFixture[str]):
    """In the order in which they are needed."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])

    output = capsys.readouterr().out
    assert ended.value.code == 0
    positions = [output.index(f"\n    {name} ") for name in ("statement", "export", "redeem")]
    assert positions == sorted(positions)
    assert "show a month's work" in output


@pytest.mark.parametrize("name", ["statement", "export", "redeem"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    """With its flags."""
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])

    output = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"python -m p2pinfer.owner {name}" in output and "--data-folder" in output
    if name == "redeem":
        assert "can sign for its own" in " ".join(output.split())


def test_starting_loads_nothing_heavy():
    """For the list of commands, and for a statement."""
    check = (
        "import sys\nfrom p2pinfer.owner.__main__ import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'grpc', 'hivemind', 'numpy', 'transformers') if m in sys.modules])"
    )
    for arguments in (["--help"], ["--data-folder", "/nonexistent", "statement"]):
        output = subprocess.run(
            [sys.executable, "-c", check, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        assert output.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words", [("--data-folder", "FILE", "statement"), ("status", "--data-folder", "FILE")]
)
def test_a_file_instead_of_a_folder_is_named(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    file = tmp_path / "ledger.sqlite"
    file.touch()
    with pytest.raises(SystemExit) as ended:
        main([str(file) if word == "FILE" else word for word in words])

    assert ended.value.code == 2
    assert f"a folder is expected, and '{file}' is a file" in capsys.readouterr().err


def test_a_command_alone_is_loaded():
    """The others may need what isn't there."""
    check = (
        "import sys\nfrom p2pinfer.owner.__main__ import main\n"
        "main(['--data-folder', '/nonexistent', 'statement'])\n"
        "print(sorted(m for m in sys.modules if m.startswith('p2pinfer.owner.commands.')))"
    )
    output = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert output.splitlines()[-1] == "['p2pinfer.owner.commands.statement']"


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["--data-folder"], ["statement", "--nonsense"], ["--mon"]]
)
def test_a_wrong_command_line_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]):
    """One line says what is wrong, another where the help is."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("Try: python -m p2pinfer.owner")


def test_the_data_folder_may_stand_before_and_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Before the command it isn't forgotten; `~` is at home."""
    (tmp_path / "ledger.sqlite").write_text("not one, but a file with some length\n" * 100)
    flag = ["--data-folder", str(tmp_path)]

    assert main([*flag, "statement"]) == 1
    assert main(["statement", *flag]) == 1
    assert main([f"--data-folder={tmp_path}", "statement", "--month", "2026-11"]) == 1
    assert capsys.readouterr().err.count("is not an SQLite file") == 3


def test_the_users_data_folder_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """Where identities are, too."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))

    assert main(["statement"]) == 0
    assert str(tmp_path / "p2pinfer") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("no such thing"), 2, "p2pinfer.owner: no such thing\n"),
        (LedgerError("it is damaged"), 1, "p2pinfer.owner: it is damaged\n"),
        (KeyboardInterrupt(), 130, "p2pinfer.owner: stopped\n"),
    ],
)
def test_what_goes_wrong_is_one_line(
    error: BaseException,
    status: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Without a traceback."""

    def fail(args: object) -> int:
        raise error

    monkeypatch.setattr(statement, "run", fail)

    assert main(["statement"]) == status
    assert capsys.readouterr().err == said


def test_a_reader_that_has_seen_enough_is_no_trouble(tmp_path: Path):
    """`| head` ends it quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "p2pinfer.owner", "--data-folder", str(tmp_path), "statement", "--csv"]
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        command, cwd=ROOT, env=buffered, stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)

    assert done.returncode == 141
    assert done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_statement_that_does_not_fit_on_the_disk_is_a_failure(tmp_path: Path):
    """Otherwise a script would keep half of it."""
    command = [sys.executable, "-m", "p2pinfer.owner", "--data-folder", str(tmp_path), "statement", "--csv"]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)

    assert done.returncode == 1
    assert done.stderr == b"p2pinfer.owner: the output can't be written: No space left on device\n"


@pytest.mark.parametrize("command", [statement, export, redeem])
def test_the_help_of_a_command_is_one_line(command: ModuleType):
    """It stands in the list of all of them."""
    assert command.HELP and "\n" not in command.HELP and len(command.HELP) < 80
