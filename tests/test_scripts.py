"""The small scripts of a checkout: --help answers and starts nothing, and a wrong argument is refused."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "coverage_by_folder",
    "generate_proto",
    "install_chromium",
    "lint",
    "test_native",
    "test_neon",
    "test_sanitizers",
)


def outcome(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        cwd="/",
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed_and_nothing_starts(script: str, flag: str):
    done = outcome(script, flag)

    assert done.returncode == 0
    assert done.stdout.startswith("usage: ") and script in done.stdout.splitlines()[0]
    assert len(done.stdout.splitlines()) > 2
    assert "==" not in done.stdout and done.stderr == ""


@pytest.mark.parametrize("script", SCRIPTS)
def test_an_argument_that_it_does_not_have_is_refused(script: str):
    done = outcome(script, "--nonsense")

    assert done.returncode == 2
    assert "--nonsense" in done.stderr
    assert done.stdout == ""
