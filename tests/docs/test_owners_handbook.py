"""The owner's handbook, docs/owners.md and the pages below it: its examples work, its names exist."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

from p2pinfer.owner import commands
from p2pinfer.owner.files import OwnerFiles
from p2pinfer.owner.policy.policy_file import parse_policy
from p2pinfer.owner.statement.rates import parse_rates
from p2pinfer.server.config import ServerConfig
from tests.docs.command_lines import calls, parse

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "owners.md", *sorted((ROOT / "docs" / "owners").glob("*.md")))
EXAMPLES = ROOT / "docs" / "examples"
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def handbook() -> str:
    """The text of all pages."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(language: str) -> list[str]:
    """The handbook's blocks of code in this language."""
    return [
        "".join(line.removeprefix(indent) for line in text.splitlines(keepends=True))
        for indent, found, text in FENCE.findall(handbook())
        if found == language
    ]


def typed(text: str) -> str:
    """What stands after the prompts of a console, with the lines that go on."""
    return "\n".join(re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", text, re.MULTILINE))


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_toml_block_of_the_handbook_can_be_used(text: str):
    """As it stands: a block with sponsors is a file of rates, any other is a whole policy."""
    if "[[sponsor]]" in text:
        assert parse_rates(text, "rates.toml")
    else:
        assert parse_policy(text, "policy.toml").conditions()


def test_the_handbook_shows_the_household_policy_as_it_is():
    """The walkthrough quotes one line of the example."""
    example = (EXAMPLES / "teslamate-policy.toml").read_text(encoding="utf-8")
    (line,) = [line for line in example.splitlines() if line.startswith("parked = {")]

    assert line in handbook()


@pytest.mark.parametrize(
    ("program", "arguments"),
    [call for text in blocks("console") for call in calls(typed(text))],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_every_command_of_the_handbook_is_taken(program: str, arguments: list[str]):
    """Flags and commands that were renamed fail here."""
    parse(program, arguments)


def test_the_handbook_calls_every_command_of_the_owner():
    """A command that the handbook leaves out stays unknown."""
    text = handbook()
    called = {arguments[0] for _, arguments in calls(typed("\n".join(blocks("console")))) if arguments}

    for module in pkgutil.iter_modules(commands.__path__):
        assert module.name in called or f"`{module.name}`" in text, module.name


def test_every_flag_that_the_handbook_mentions_is_one_of_ours(capsys: pytest.CaptureFixture[str]):
    """In running text; those of other programs stand in commands, or are named here."""
    others = {"--network", "--stop-timeout", "--build-arg", "--add-host", "--dry-run", "--user"}
    with pytest.raises(SystemExit):
        ServerConfig.from_args(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for module in pkgutil.iter_modules(commands.__path__):
        parser = argparse.ArgumentParser()
        importlib.import_module(f"{commands.__name__}.{module.name}").add_arguments(parser)
        known |= set(re.findall(r"--[a-z-]+", parser.format_help()))

    prose = FENCE.sub("", handbook())
    mentioned = {flag for span in re.findall(r"`([^`]+)`", prose) for flag in re.findall(r"--[a-z-]+", span)}
    assert mentioned - others <= known


def test_the_handbook_lists_every_file_of_the_owner():
    """Who takes everything back wants to know what is left."""
    text = handbook()
    files = OwnerFiles(Path())
    for path in (files.policy, files.consent, files.ledger, files.rates, files.redeemed, files.statuses):
        assert f"| `{path.name}" in text, path.name


def headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    return {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_links_to_what_is_there(page: Path):
    """Files beside it, and headings in them."""
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        path, _, heading = target.partition("#")
        if path.startswith("https:"):
            continue
        linked = page.parent / path if path else page
        assert linked.exists(), target
        assert not heading or heading in headings(linked), target
