"""Taking the consent back: what happened, to which servers, and which other servers go on."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.identity import Identity
from p2pinfer.owner.command_text import owner_command, server_command
from p2pinfer.owner.commands import export, revoke, statement, status
from p2pinfer.owner.consent import text_for, write_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.ledger.ledger import Ledger
from p2pinfer.owner.liveness import servers_of_this_user
from p2pinfer.owner.states import OwnerState
from p2pinfer.owner.status import Status, write_status
from tests.owner.commands.running import arguments

Runs = Callable[[Path], Status]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Makes this process a server with its files in a folder: it holds the ledger open."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    with ExitStack() as ledgers:

        def run(folder: Path) -> Status:
            ledgers.enter_context(Ledger.open(OwnerFiles(folder).ledger))
            now = time.time()
            made = Status(
                peer_id=Identity.ephemeral().peer_id,
                process=os.getpid(),
                written_at=now,
                state=OwnerState.SERVING,
                since=now,
                words="the policy allows it",
                model="m",
                public_name="car",
            )
            write_status(OwnerFiles(folder).statuses, made)
            return made

        yield run


def test_a_revoke_names_the_servers_that_stop(tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]):
    folder = tmp_path / "data"
    write_consent(OwnerFiles(folder).consent)
    server = runs(folder)

    assert revoke.run(arguments(revoke, folder)) == 0
    output = capsys.readouterr().out
    assert f"consent in {folder} taken back" in output
    assert f"server car …{server.peer_id[-6:]} (process {os.getpid()}) stops within seconds" in output
    assert not OwnerFiles(folder).consent.exists()


def test_a_revoke_in_the_wrong_folder_fails_and_names_the_right_one(
    tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
):
    """Its command works as it is, blanks and quotes in the folder's name included."""
    folder = tmp_path / "the owner's data"
    write_consent(OwnerFiles(folder).consent)
    runs(folder)

    assert revoke.run(arguments(revoke, tmp_path / "wrong")) == 1
    output = capsys.readouterr().out
    assert "there was no consent to take back in" in output
    [line] = [line for line in output.splitlines() if str(os.getpid()) in line]
    command = shlex.split(line.partition("to stop: ")[2])
    assert command == ["python", "-m", "p2pinfer.owner", "--data-folder", str(folder), "revoke"]
    done = subprocess.run([sys.executable, *command[1:]], cwd="/", capture_output=True, check=False)
    assert done.returncode == 0
    assert not OwnerFiles(folder).consent.exists()


def test_without_consent_and_servers_there_is_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(revoke, "servers_of_this_user", dict)
    assert revoke.run(arguments(revoke, tmp_path)) == 0
    assert f"no consent to take back in {tmp_path}" in capsys.readouterr().out


def test_a_server_that_has_ended_is_not_among_those_that_run(tmp_path: Path, runs: Runs):
    server = runs(tmp_path / "data")
    assert servers_of_this_user()[tmp_path / "data"] == [server]

    write_status(OwnerFiles(tmp_path / "other").statuses, server)  # no ledger is open there
    assert tmp_path / "other" not in servers_of_this_user()


@pytest.mark.parametrize("command", [statement, status])
def test_an_empty_folder_says_where_servers_run(
    command, tmp_path: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
):
    runs(tmp_path / "my data")
    command.run(arguments(command, tmp_path / "empty"))

    name = command.__name__.rpartition(".")[2]
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("But servers of yours run with files in other folders: ")
    assert last.endswith(owner_command(name, tmp_path / "my data"))


def test_an_export_from_an_empty_folder_says_where_servers_run(tmp_path: Path, runs: Runs):
    runs(tmp_path / "my data")
    with pytest.raises(UsageError, match="there is no ledger") as raised:
        export.run(arguments(export, tmp_path / "empty", "--out", str(tmp_path / "out")))

    assert str(raised.value).endswith(owner_command("export --out FILE", tmp_path / "my data"))


def test_a_printed_command_works_from_every_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    assert (
        owner_command("check", Path("a b"))
        == f"python -m p2pinfer.owner --data-folder '{tmp_path}/a b' check"
    )
    assert server_command(Path("x")) == f"python -m p2pinfer.server MODEL --data-folder {tmp_path}/x"
    default = tmp_path / ".local/share/p2pinfer"
    assert owner_command("check", default) == "python -m p2pinfer.owner check"
    assert server_command(default) == "python -m p2pinfer.server MODEL"


def test_the_commands_in_the_terms_are_for_the_folder_that_they_are_for(tmp_path: Path):
    text = text_for(tmp_path / "a b")
    for command in ("statement", "init", "revoke"):
        assert f"python -m p2pinfer.owner --data-folder '{tmp_path}/a b' {command}\n" in text
