"""What docs/owners.md and its examples say can be parsed, is there, and is called so."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from p2pinfer.owner import commands
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.policy.conditions import Condition
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.policy_file import load_policy, parse_policy
from p2pinfer.owner.signals.config import MqttTopic
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.statement.rates import parse_rates
from p2pinfer.server.config import ServerConfig

ROOT = Path(__file__).parents[2]
HANDBOOK = ROOT / "docs" / "owners.md"
EXAMPLES = ROOT / "docs" / "examples"
UNIT = EXAMPLES / "p2pinfer.service"
CONTAINERFILE = EXAMPLES / "Containerfile"

PROGRAMS = ("p2pinfer.server", "p2pinfer.owner")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    """The handbook's blocks of code in this language."""
    return [
        "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
        for indent, found, text in FENCE.findall(HANDBOOK.read_text(encoding="utf-8"))
        if found == language
    ]


def calls(text: str) -> Iterator[tuple[str, list[str]]]:
    """A program of ours and its arguments, for every command line in `text` that runs one."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        for index, word in enumerate(words):
            if word in PROGRAMS:
                yield word, words[index + 1 :]
                break


def typed(text: str) -> str:
    """What stands after the prompts of a console, with the lines that go on."""
    return "\n".join(re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", text, re.MULTILINE))


def owner_parser() -> argparse.ArgumentParser:
    """As `python -m p2pinfer.owner` has it."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--data-folder")
    subparsers = parser.add_subparsers(required=True)
    for module in pkgutil.iter_modules(commands.__path__):
        command = importlib.import_module(f"{commands.__name__}.{module.name}")
        command.add_arguments(subparsers.add_parser(module.name, allow_abbrev=False))
    return parser


def parse(program: str, arguments: list[str]) -> None:
    """Exits if the program doesn't take these arguments."""
    if program == "p2pinfer.server":
        ServerConfig.from_args(arguments)
    else:
        owner_parser().parse_args(arguments)


def unit_settings() -> dict[str, str]:
    """The last value of each setting in the unit."""
    lines = (line.partition("=") for line in UNIT.read_text(encoding="utf-8").splitlines() if line)
    return {key: value for key, equals, value in lines if equals and not key.startswith("#")}


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_toml_block_of_the_handbook_can_be_used(text: str):
    """Rates as they are; anything else is a policy, of which `version` may be left out."""
    if "[[sponsor]]" in text:
        assert parse_rates(text, "rates.toml")
    else:
        policy = parse_policy(text if "version" in text else f"version = 1\n{text}", "policy.toml")
        assert policy.conditions()


def test_the_household_policy_asks_teslamate_for_everything_that_it_needs():
    """Nothing is left to what a computer in a garage could tell of itself."""
    policy = load_policy(EXAMPLES / "teslamate-policy.toml")

    assert {Condition.PARKED, Condition.PLUGGED_IN, Condition.IN_USE} <= set(policy.conditions())
    sources = policy.signals.sources
    for signal in policy.needed_signals() - {Signal.TRAFFIC_BYTES}:
        source = sources[signal]
        assert isinstance(source, MqttTopic)
        assert source.topic.startswith("teslamate/cars/1/")


def test_the_handbook_shows_the_household_policy_as_it_is():
    """The step about the sleeping car quotes one line of the example."""
    example = (EXAMPLES / "teslamate-policy.toml").read_text(encoding="utf-8")
    (line,) = [line for line in example.splitlines() if line.startswith("parked = {")]

    assert line in HANDBOOK.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("program", "arguments"),
    [call for text in blocks("console") for call in calls(typed(text))],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_command_of_the_handbook_is_taken(program: str, arguments: list[str]):
    """Flags and commands that were renamed fail here."""
    parse(program, arguments)


def test_the_handbook_calls_every_command_of_the_owner():
    """One that nobody is told of might as well not be there."""
    text = HANDBOOK.read_text(encoding="utf-8")
    called = {arguments[0] for _, arguments in calls(typed("\n".join(blocks("console")))) if arguments}

    for module in pkgutil.iter_modules(commands.__path__):
        assert module.name in called or f"`{module.name}`" in text, module.name


def test_every_flag_that_the_handbook_mentions_is_one_of_ours(capsys: pytest.CaptureFixture[str]):
    """In running text; those of other programs stand in commands, or are named here."""
    others = {"--network", "--stop-timeout", "--build-arg", "--add-host", "--dry-run"}
    with pytest.raises(SystemExit):
        ServerConfig.from_args(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for module in pkgutil.iter_modules(commands.__path__):
        parser = argparse.ArgumentParser()
        importlib.import_module(f"{commands.__name__}.{module.name}").add_arguments(parser)
        known |= set(re.findall(r"--[a-z-]+", parser.format_help()))

    prose = FENCE.sub("", HANDBOOK.read_text(encoding="utf-8"))
    mentioned = {flag for span in re.findall(r"`([^`]+)`", prose) for flag in re.findall(r"--[a-z-]+", span)}
    assert mentioned - others <= known


def test_the_handbook_lists_every_file_of_the_owner():
    """Who takes everything back wants to know what is left."""
    text = HANDBOOK.read_text(encoding="utf-8")
    files = OwnerFiles(Path())
    for path in (files.policy, files.consent, files.ledger, files.rates, files.redeemed, files.statuses):
        assert f"| `{path.name}" in text, path.name


def test_the_handbook_links_to_what_is_there():
    """Files beside it, and headings of its own."""
    text = HANDBOOK.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = target.partition("#")
        if path.startswith("https:"):
            continue
        if path:
            assert (HANDBOOK.parent / path).exists(), target
        else:
            assert heading in headings, target


def test_the_unit_starts_the_server_and_gives_it_time_to_drain():
    """Its command line is taken, and systemd waits for longer than a drain takes by default."""
    settings = unit_settings()

    ((program, arguments),) = calls(settings["ExecStart"])
    parse(program, arguments)
    assert program == "p2pinfer.server"
    assert float(settings["TimeoutStopSec"]) > Policy().drain_seconds
    assert settings["KillMode"] == "mixed"  # p2pd isn't told to end before the server has left
    assert settings["RestartPreventExitStatus"] == "2"  # of UsageError: only the owner can help


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path):
    """With a program that is there, which is the only thing that it looks for outside of the file."""
    unit = tmp_path / UNIT.name
    text = UNIT.read_text(encoding="utf-8")
    unit.write_text(text.replace("/opt/p2pinfer/.venv/bin/python", sys.executable), encoding="utf-8")

    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    said = (checked.stdout + checked.stderr).splitlines()
    assert [line for line in said if UNIT.name in line] == []  # the rest is about this machine's own units


def test_the_container_is_made_of_what_is_there():
    """What is copied exists, and what is installed is pinned by a file that was copied."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for source in line.split()[:-1]
    ]

    assert all((ROOT / source).exists() for source in copied)
    assert "scripts/constraints.txt" in copied
    assert "PIP_CONSTRAINT=/src/scripts/constraints.txt" in text
    assert text.count("\nUSER ") == 1
