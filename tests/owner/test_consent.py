"""Nothing runs before the owner agrees, and the owner can take it back."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner import consent
from p2pinfer.owner.consent import VERSION, consented, read_consent, revoke_consent, write_consent
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.server import __main__ as server


class Owner:
    """A person at the terminal, or no terminal."""

    def __init__(self, answer: str | None = None) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.read: list[str] = []

    def ask(self, question: str) -> str | None:
        self.asked.append(question)
        return self.answer

    def agrees(self, path: Path, *, accept: bool = False) -> bool:
        return consented(path, accept=accept, ask=self.ask, say=self.read.append)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "consent.json"


@pytest.mark.parametrize("answer", ["yes", "YES", " y "])
def test_who_agrees_is_told_before_what_to_and_not_asked_again(path, answer):
    owner = Owner(answer)
    assert owner.agrees(path)
    text = " ".join(owner.read)
    assert all(word in text for word in ("your IP address", "Electricity", "files", "revoke"))
    assert read_consent(path).is_current

    again = Owner()
    assert again.agrees(path)
    assert (again.asked, again.read) == ([], [])


@pytest.mark.parametrize("answer", ["no", "", "yes please, but not now"])
def test_anything_but_yes_is_no(path, answer):
    assert not Owner(answer).agrees(path)
    assert read_consent(path) is None


def test_where_nobody_can_be_asked_the_way_out_is_named(path):
    with pytest.raises(UsageError, match="--accept"):
        Owner(None).agrees(path)
    assert read_consent(path) is None


def test_scripts_agree_without_being_asked(path):
    owner = Owner()
    assert owner.agrees(path, accept=True)
    assert owner.asked == []
    assert owner.read  # but what to is in their log


def test_when_the_text_has_changed_the_owner_is_asked_again(path, monkeypatch):
    write_consent(path)
    monkeypatch.setattr(consent, "VERSION", VERSION + 1)
    owner = Owner("yes")
    assert owner.agrees(path)
    assert "has changed" in owner.read[0]
    assert owner.asked
    assert read_consent(path).version == VERSION + 1


def test_it_is_kept_with_version_and_date(path):
    write_consent(path)
    said = json.loads(path.read_text())
    assert said["version"] == VERSION
    assert said["accepted_at"].endswith("+00:00")


def test_it_can_be_taken_back_once(path):
    write_consent(path)
    assert revoke_consent(path)
    assert read_consent(path) is None
    assert not revoke_consent(path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "yes",
        "[]",
        '{"version": "one", "accepted_at": "now"}',
        '{"version": 1e999, "accepted_at": "now"}',
        "[" * 100_000,
    ],
    ids=range(6),
)
def test_a_damaged_consent_is_none_and_says_what_to_do(path, content):
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(UsageError, match="delete it"):
        read_consent(path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another folder by --data-folder"):
        write_consent(tmp_path / "file" / "consent.json")


def test_a_server_without_consent_does_not_even_begin(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115
    status = server.main(["no-such-model", "--data-folder", str(tmp_path)])
    printed = capsys.readouterr()
    assert status == 2
    assert "--accept" in printed.err
    assert "your IP address" in printed.out
    assert list(tmp_path.iterdir()) == []


def test_the_commands_of_the_owner_give_it_and_take_it_back(tmp_path, capsys, monkeypatch):
    from p2pinfer.owner.commands import accept, revoke

    monkeypatch.setattr(revoke, "servers_of_this_user", dict)
    args = Namespace(data_folder=tmp_path, yes=True)
    assert accept.run(args) == 0
    assert read_consent(OwnerFiles(tmp_path).consent).is_current
    assert revoke.run(args) == 0
    assert revoke.run(args) == 0
    assert "no consent to take back" in capsys.readouterr().out
    monkeypatch.setattr(accept, "ask", lambda question: "no")
    assert accept.run(Namespace(data_folder=tmp_path, yes=False)) == 1
