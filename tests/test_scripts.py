"""The developer's scripts: their help, which Python they choose, and what they leave alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = (
    "coverage_by_folder",
    "generate_proto",
    "install_for_tests",
    "lint",
    "test_native",
    "test_neon",
    "test_pythons",
    "test_sanitizers",
)
TOOLS = (
    "basename", "bash", "cat", "cp", "dirname", "env", "find", "flock", "grep", "ls", "mkdir", "rm", "sed",
    "sort", "tail", "xargs",
)  # fmt: skip
ENGINES = Path("p2pinfer", "model", "engine", "native")
OWN_ENGINE = ENGINES / f"_native{sysconfig.get_config_var('EXT_SUFFIX')}"
OTHER_ENGINE = ENGINES / "_native.cpython-999-other.so"


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{shutil.which('bash')}\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH that has the scripts' tools, and no Python."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for tool in TOOLS:
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    return folder


def run(*command: str | Path, **environment: str | Path) -> str:
    done = subprocess.run(
        command, env={**environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("versions", "listed"),
    [
        (["3.13.0", "3.11.2", "3.12.1"], ["3.11.2", "3.12.1", "3.13.0"]),
        (["3.11.10", "3.11.9"], ["3.11.9", "3.11.10"]),
        (["3.10.13", "3.11.7", "3.99.0"], ["3.11.7"]),
        (["3.10.13"], [""]),
    ],
)
def test_the_pythons_to_test_are_those_that_setup_cfg_names_oldest_first(
    tmp_path: Path, tools: Path, versions: list[str], listed: list[str]
) -> None:
    """On PATH and of pyenv, whose folder has one for each version."""
    home = tmp_path / "home"
    for version in versions:
        minor = version.rpartition(".")[0]
        line = f"echo {version} /pythons/{version}"
        program(home / ".pyenv" / "versions" / version / "bin" / f"python{minor}", line)
    program(tools / "python3.12", "exit 127  # one of pyenv's shims, for a version that isn't chosen")
    output = run(ROOT / "scripts" / "test_pythons", "--list", PATH=tools, HOME=home)
    assert [line.partition(" ")[0] for line in output.split("\n")[:-1]] == listed
    oldest = run(ROOT / "scripts" / "test_pythons", "--oldest", PATH=tools, HOME=home)
    assert oldest == (f"/pythons/{listed[0]}\n" if listed[0] else "\n")


def test_another_environment_leaves_venv_and_its_engine_alone(tmp_path: Path, tools: Path) -> None:
    """Each Python has an engine of its own name; a second run does nothing."""
    checkout = tmp_path / "checkout"
    (checkout / ENGINES / "src").mkdir(parents=True)
    (checkout / OTHER_ENGINE).touch()
    (checkout / "scripts").mkdir()
    for name in ("setup.cfg", "pyproject.toml", "scripts/constraints.txt", "scripts/setup"):
        shutil.copy(ROOT / name, checkout / name)
    python = program(
        tmp_path / "python",
        f"""
        case "$*" in
            "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
            *"pip install"*) [[ "$*" != *--editable* ]] || : >"{checkout / OWN_ENGINE}" ;;
            *) exec {sys.executable} "$@" ;;
        esac""",
    )
    environment = {"PATH": tools, "PYTHON": python, "VENV": tmp_path / "with blanks" / "3.99"}

    said = run(checkout / "scripts" / "setup", "test", **environment)
    assert f"setting up {environment['VENV']}" in said
    assert os.access(environment["VENV"] / "bin" / "python", os.X_OK)
    assert not (checkout / ".venv").exists()
    assert (checkout / OTHER_ENGINE).exists() and (checkout / OWN_ENGINE).exists()
    assert run(checkout / "scripts" / "setup", "test", **environment) == ""
    (checkout / OWN_ENGINE).unlink()
    assert "native engine" in run(checkout / "scripts" / "setup", "test", **environment)


def outcome(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "scripts" / script, *arguments],
        cwd="/",
        env=os.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
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


def test_where_nothing_can_be_installed_the_missing_programs_are_named(tools: Path):
    """And the tests that need them are skipped, so this is no error."""
    printed = run(ROOT / "scripts" / "install_for_tests", PATH=tools)
    assert "chromium" in printed and "apt-get install" in printed
    for name in ("google-chrome", "nft", "ip", "miniupnpd"):
        program(tools / name, "exit 0")
    assert run(ROOT / "scripts" / "install_for_tests", PATH=tools) == ""
