"""docs/security.md: each bound is the number that the code has, and its links lead somewhere."""

from __future__ import annotations

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

from scripts.benchmarks.hostile.plan import ATTACKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<what>[^|]+) \| (?P<bound>[^|]+) \| `(?P<module>[a-z0-9_/]+)`: (?P<names>.+) \|$", re.M
)
NUMBER = re.compile(
    r"(?P<digits>\d[\d,]*(?:\.\d+)?)(?: (?P<unit>%|(?:KiB|MiB|GiB|kB|MB|minutes?|hours?|days?)\b))?"
)
UNITS = {
    None: 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "kB": 10**3, "MB": 10**6, "%": 0.01,
    "minute": 60, "minutes": 60, "hour": 3600, "hours": 3600, "day": 86_400, "days": 86_400,
}  # fmt: skip


def bounds() -> list[tuple[str, list[float], str, list[str]]]:
    """Of each row: what is bounded, its numbers, the module, and the names there that have them."""
    return [
        (
            row["what"],
            [
                float(number["digits"].replace(",", "")) * UNITS[number["unit"]]
                for number in NUMBER.finditer(row["bound"])
            ],
            "p2pinfer." + row["module"].replace("/", "."),
            re.findall(r"`([A-Za-z_.]+)`", row["names"]),
        )
        for row in ROW.finditer(PAGE)
    ]


def test_there_are_bounds():
    assert len(bounds()) > 40


@pytest.mark.parametrize(
    ("numbers", "module", "names"),
    [pytest.param(*row[1:], id=row[0]) for row in bounds()],
)
def test_every_bound_of_the_page_is_that_of_the_code(numbers: list[float], module: str, names: list[str]):
    """In the order of the names; a number that stands for no name is an explanation."""
    values = [reduce(getattr, name.split("."), importlib.import_module(module)) for name in names]
    found = [number for value in values for number in (value if isinstance(value, tuple) else (value,))]

    assert names
    assert [pytest.approx(value) for value in found] == numbers[: len(found)]


def test_every_attack_that_the_page_names_is_one_of_the_benchmark():
    named = re.findall(r"--only ([a-z0-9,-]+)", PAGE)

    assert named
    assert {attack for names in named for attack in names.split(",")} <= set(ATTACKS)


@pytest.mark.parametrize("page", ["docs/security.md", "SECURITY.md"])
def test_every_link_leads_to_a_heading(page: str):
    path = ROOT / page
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        text = (path.parent / name if name else path).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        anchors = [re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors
