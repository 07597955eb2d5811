"""Secrets, and the paths of files and programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.signals.config import (
    Command,
    FileText,
)
from p2pinfer.owner.signals.readings import Signal
from tests.owner.policy.reading import parsed, problems


def test_secrets_are_in_no_message_and_no_repr():
    """Not even where they are wrong."""
    (problem,) = problems("[mqtt]\nhost = 'a'\npassword = 12345678")
    assert problem == "policy.toml line 4: password: a text is expected"

    policy = parsed(
        "[mqtt]\nhost = 'a'\npassword = 's3cret'\n[home_assistant]\nurl = 'http://a'\ntoken = 't0k'"
    )
    assert "s3cret" not in repr(policy) and "t0k" not in repr(policy)


def test_secrets_can_stand_in_files_of_their_own(tmp_path: Path):
    """Found from the policy's folder on, whatever the working folder is."""
    (tmp_path / "password.txt").write_text("s3cret\n")
    (tmp_path / "policy.toml").write_text(
        "version = 1\n[mqtt]\nhost = 'a'\npassword_file = 'password.txt'\n"
        f"[home_assistant]\nurl = 'http://a'\ntoken_file = '{tmp_path}/password.txt'\n"
        "[signals]\nprice = { file = 'price.txt' }\nwatts = { command = ['bin/watts', 'bin/x'] }\n"
    )
    signals = load_policy(tmp_path / "policy.toml").signals

    assert signals.mqtt is not None and signals.mqtt.password == "s3cret"
    assert signals.home_assistant is not None and signals.home_assistant.token == "s3cret"
    assert signals.sources[Signal.PRICE] == FileText(path=f"{tmp_path}/price.txt")
    assert signals.sources[Signal.WATTS] == Command(arguments=(f"{tmp_path}/bin/watts", "bin/x"))


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "can't be read"), (b"\n", "first line of the file is empty"), (b"\xff", "isn't text in UTF-8")],
)
def test_a_secret_that_cannot_be_had_is_a_mistake(tmp_path: Path, content: bytes | None, words: str):
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    text = "version = 1\n[mqtt]\nhost = 'a'\npassword_file = 'secret'"

    with pytest.raises(UsageError, match=f'^p line 4: password_file = "secret": .*{words}'):
        parse_policy(text, "p", folder=tmp_path)


def test_one_place_for_a_secret_is_enough():
    (problem,) = problems("[mqtt]\nhost = 'a'\npassword = 'x'\npassword_file = 'y'")

    assert problem == "policy.toml line 5: password_file: there is `password` too; one of the two is enough"


def test_a_path_may_begin_in_the_home_folder(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/someone")
    policy = parsed("[signals]\nprice = { file = '~/price' }\nwatts = { command = ['~/watts'] }")

    assert policy.signals.sources == {
        Signal.PRICE: FileText(path="/home/someone/price"),
        Signal.WATTS: Command(arguments=("/home/someone/watts",)),
    }
