"""docs/documents.md: its commands are taken, its requests can be read, its links lead somewhere."""

from __future__ import annotations

import io
import json
import re
import shlex
from pathlib import Path

import pytest

from p2pinfer.documents.__main__ import _parser
from p2pinfer.documents.inputs.batch_lines import read_batch
from p2pinfer.documents.jobs.job import Document
from p2pinfer.documents.program.config import RunConfig
from p2pinfer.openai_api.whole_answers import read_request

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "documents.md").read_text(encoding="utf-8")
PROGRAM = "python -m p2pinfer.documents "


def commands(text: str) -> list[str]:
    """The command lines of the program in a text, with the lines that go on."""
    shown = re.findall(r"^\$ (.*(?:(?<=\\)\n.*)*)", text, re.MULTILINE)
    named = re.findall(r"`(python -m p2pinfer\.documents [^`]*)`", text)
    return [one.replace("\\\n", " ") for one in (*shown, *named) if one.startswith(PROGRAM)]


@pytest.mark.parametrize("command", commands(GUIDE + (ROOT / "README.md").read_text(encoding="utf-8")))
def test_every_command_of_the_guide_is_taken(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Flags and commands that were renamed fail here."""
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command.replace("3KooW...", "3KooWabc").replace("3Koo...", "3KooWabc"))[3:]
    flags = _parser().parse_args(words)
    if words[0] == "run":
        RunConfig.of(flags)


def test_the_request_in_the_guide_can_be_read():
    lines = [line for line in GUIDE.splitlines() if line.startswith('{"custom_id"')]
    (document,) = read_batch(io.BytesIO("\n".join(lines).encode()))

    assert isinstance(document, Document)
    read_request(document.url, document.body)


def test_the_error_in_the_guide_is_json():
    (line,) = [line for line in GUIDE.splitlines() if line.startswith('{"id": "batch_req_')]

    assert json.loads(line)["response"]["body"]["error"]["code"] == "unreadable_file"


def test_every_link_of_the_guide_leads_to_a_heading():
    for target in re.findall(r"\]\(([^)]+)\)", GUIDE):
        if "://" in target:
            continue
        page, _, anchor = target.partition("#")
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors
