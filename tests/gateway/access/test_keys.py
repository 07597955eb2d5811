"""API keys: their file, their command, and what happens without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.gateway.__main__ import main
from p2pinfer.gateway.access.key_file import KeyFile, read_keys, write_keys
from p2pinfer.gateway.access.keys import Key, find_key, keys_as_text, new_key, parse_keys
from tests.gateway.asking import asking, chat, error_of
from tests.gateway.stand_in import StandInModel


def make_key(name: str = "anna", **limits: int) -> tuple[str, Key]:
    return new_key(name, created="2026-11-29", limits=limits)


def test_a_key_is_found_and_a_wrong_secret_is_not():
    text, key = make_key()
    keys = {key.id: key}
    assert find_key(text, keys) is key
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    for other in (wrong, text.upper(), text + "\n", "", "p2p-", make_key()[0], "x" * 10_000, "p2p-é"):
        assert find_key(other, keys) is None


def test_the_file_has_no_secret_and_reads_back():
    text, key = make_key(concurrent=3)
    written = keys_as_text([key])
    assert text.split("-")[2] not in written
    assert parse_keys(written) == {key.id: key}


_, GOOD = make_key()


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": "a\nb"}, {"name": "x" * 65}, {"name": 5}, {"id": "zz"}, {"salt": ""},
        {"hash": "0"}, {"concurrent": 0}, {"concurrent": True}, {"tokens_per_day": -1},
        {"requests_per_minute": 1.5},
        {"concurrent": 10**13}, {"other": 1},
    ],
)  # fmt: skip
def test_a_malformed_entry_is_an_error_that_says_so(change: dict[str, object]):
    data = json.loads(keys_as_text([GOOD]))
    data["keys"][0].update(change)
    with pytest.raises(UsageError):
        parse_keys(json.dumps(data))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"version": 2, "keys": []}', "[" * 100_000, "\xff"]
)
def test_any_other_file_is_an_error(text: str):
    with pytest.raises(UsageError):
        parse_keys(text)


def test_a_file_that_changes_is_read_again_and_a_damaged_one_lets_nobody_in(tmp_path: Path):
    file = tmp_path / "keys.json"
    _, first = make_key("first")
    _, second = make_key("second")
    write_keys(file, {first.id: first})
    assert file.stat().st_mode & 0o777 == 0o600
    keys = KeyFile(file)
    assert keys.keys().keys() == {first.id}
    write_keys(file, {second.id: second})
    assert keys.keys().keys() == {second.id}
    file.write_text("oops")
    assert keys.keys() == {}
    file.unlink()
    assert keys.keys() == {}
    write_keys(file, {first.id: first})
    assert keys.keys().keys() == {first.id}


def test_the_command_makes_lists_and_removes_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = str(tmp_path / "folder" / "keys.json")
    assert main(["keys", "add", "anna", "--tokens-per-day", "1000", "--api-keys", file]) == 0
    made = capsys.readouterr().out.strip()
    assert find_key(made, read_keys(Path(file)))
    assert main(["keys", "add", "anna", "--api-keys", file]) == 2
    assert "already" in capsys.readouterr().err
    assert main(["keys", "list", "--api-keys", file]) == 0
    listed = capsys.readouterr().out
    assert "anna" in listed and "1,000" in listed and made not in listed
    assert main(["keys", "remove", "anna", "--api-keys", file]) == 0
    assert main(["keys", "remove", "anna", "--api-keys", file]) == 2
    assert read_keys(Path(file)) == {}


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["keys", "list", "--api-keys", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer wrong", "Basic abc", "p2p-x", "Bearer \xff"])
async def test_a_request_without_a_valid_key_is_refused(header: str | None):
    """Before its body is read; how the gateway is needs no key."""
    _, key = make_key()
    headers = {} if header is None else {"authorization": header.encode("latin-1")}
    async with asking(StandInModel(), keys=lambda: {key.id: key}) as client:
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/metrics")):
            answer = await client.request(method, path, headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert error_of(answer)["code"] == "invalid_api_key"
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/docs")).status_code == 200


async def test_a_request_with_a_key_is_answered_as_far_as_its_limits_go():
    text, key = make_key(tokens_per_day=60)
    async with asking(StandInModel(), keys=lambda: {key.id: key}) as client:
        client.headers["authorization"] = f"Bearer {text}"
        assert (await chat(client)).status_code == 200
        refused = await chat(client)
        while refused.status_code == 200:
            refused = await chat(client)
    error = error_of(refused)
    assert refused.status_code == 429 and error["code"] == "rate_limit_exceeded"
    assert 1 <= int(refused.headers["retry-after"]) <= 86_400
    assert key.hash not in refused.text and text not in refused.text


def test_a_file_that_everybody_may_write_lets_nobody_in(tmp_path: Path):
    """Any user of the machine could make himself a key."""
    _, key = make_key()
    write_keys(tmp_path / "keys.json", {key.id: key})
    file = KeyFile(tmp_path / "keys.json")
    assert file.keys()

    (tmp_path / "keys.json").chmod(0o666)
    assert not file.keys()
    with pytest.raises(UsageError, match="chmod o-w"):
        read_keys(tmp_path / "keys.json")

    (tmp_path / "keys.json").chmod(0o600)
    assert file.keys()
