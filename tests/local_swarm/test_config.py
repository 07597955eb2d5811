"""The command line of scripts/quickstart."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2pinfer.local_swarm.__main__ import joining_help
from p2pinfer.local_swarm.config import DEFAULT_PROMPT, QuickstartConfig
from p2pinfer.types import Span


def test_without_flags_three_peers_answer_the_default_question(monkeypatch: pytest.MonkeyPatch):
    """The first command of the README."""
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    config = QuickstartConfig.from_args([])

    assert (config.num_peers, config.prompt, config.model, config.keep) == (3, DEFAULT_PROMPT, None, False)
    assert config.cache_folder == Path("/somewhere/p2pinfer")


def test_a_relative_cache_folder_in_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch):
    """The XDG base directory specification asks for that."""
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", "/home/someone")

    assert QuickstartConfig.from_args([]).cache_folder == Path("/home/someone/.cache/p2pinfer")


@pytest.mark.parametrize("number", ["0", "-1", "three", "1.5", ""])
def test_a_number_of_peers_that_is_none_is_refused_in_one_line(
    number: str, capsys: pytest.CaptureFixture[str]
):
    """argparse's usage, then what was expected."""
    with pytest.raises(SystemExit) as ended:
        QuickstartConfig.from_args(["--peers", number])

    assert ended.value.code == 2
    assert "a whole number of at least 1 is expected" in capsys.readouterr().err


def test_the_chat_page_has_flags_of_its_own():
    config = QuickstartConfig.from_args(["--chat", "--port", "0", "--no-browser"])

    assert (config.chat, config.port, config.open_browser) == (True, 0, False)
    assert QuickstartConfig.from_args([]).chat is False


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--chat", "--prompt", "Hello"], "not allowed with argument"),
        (["--port", "1"], "--port is the chat page's: give --chat too"),
        (["--chat", "--max-new-tokens", "9"], "the page's settings have it"),
        (["--chat", "--wire-dtype", "int8"], "float32 only"),
        (["--chat", "--port", "70000"], "a port from 0 to 65535 is expected"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    """Nothing that was asked for is ignored."""
    with pytest.raises(SystemExit) as ended:
        QuickstartConfig.from_args(flags)

    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_help_for_joining_can_be_copied_into_a_shell():
    """Folders with spaces are quoted; the server's command names the addresses and layers."""
    text = joining_help("/a b/store", ["/ip4/127.0.0.1/tcp/1/p2p/A"], Span(0, 30))

    assert "'/a b/store' --layers 0:30 --initial-peers /ip4/127.0.0.1/tcp/1/p2p/A" in text
