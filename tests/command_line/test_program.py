"""How every program starts, answers --help and --version, and says what is missing."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer import __version__
from p2pinfer.__main__ import PROGRAMS, main, module_name
from p2pinfer.command_line.program import Parser, run, spoken_name
from p2pinfer.errors import ModelError, UsageError

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "hivemind", "grpc")

ANSWER_FLAGS = """
import importlib, sys
main = importlib.import_module(sys.argv[1]).main
for flag in ("--help", "--version", "--nonsense"):
    try:
        print(f"status {main([flag])}")
    except SystemExit as ended:
        print(f"status {ended.code}")
print([name for name in sys.argv[2:] if name in sys.modules])
"""
WITHOUT = """
import runpy, sys
for name in sys.argv[1].split(","):
    sys.modules[name] = None
sys.argv = sys.argv[2:]
runpy.run_module(sys.argv[0], run_name="__main__")
"""


def answer(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def answer_without(libraries: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program in which these libraries can't be imported."""
    return answer("-c", WITHOUT, libraries, *arguments, **environment)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_version_and_a_wrong_flag_are_answered_at_once(program: str):
    """Without the libraries that take seconds to load."""
    module = f"p2pinfer.{module_name(program)}"
    done = answer("-c", ANSWER_FLAGS, module, *HEAVY)
    lines = done.stdout.splitlines()

    assert lines[0].startswith("usage: "), done.stderr
    assert [line for line in lines if line.startswith("status ")] == ["status 0", "status 0", "status 2"]
    assert f"p2pinfer {__version__}" in lines
    assert lines[-1] == "[]"
    wrong, hint = done.stderr.splitlines()
    assert ": " in wrong
    assert hint.startswith("Try: ") and hint.endswith(" --help")


@pytest.mark.parametrize(
    ("program", "words", "named"),
    [
        ("server", ["--nonsense"], "--nonsense"),
        ("server", ["--layer", "0:2"], "--layer (did you mean --layers?)"),
        ("server", ["--nonsense=1", "--lisen", "x"], "--nonsense, --lisen (did you mean --listen?)"),
        ("server", ["m", "-layers", "0:2"], "-layers (did you mean --layers?)"),
        ("owner", ["--nonsense"], "--nonsense"),
        ("owner", ["--nonsense", "statement"], "--nonsense"),
        ("owner", ["redeem", "--identty", "x"], "--identty (did you mean --identity?)"),
        ("owner", ["statement", "--month", "2026-11", "extra"], "extra"),
        ("health", ["--nonsense"], "--nonsense"),
        ("convert", ["--nonsense"], "--nonsense"),
        ("documents", ["--nonsense"], "--nonsense"),
        ("documents", ["run", "x", "--promt", "y"], "--promt (did you mean --prompt?)"),
    ],
)
def test_a_wrong_flag_is_named_also_where_something_is_missing(
    program: str, words: list[str], named: str, capsys: pytest.CaptureFixture[str]
):
    """MODEL, COMMAND, --initial-peers: what is missing is not what is wrong."""
    main_of = importlib.import_module(
        f"p2pinfer.{program}" + ("" if program == "convert" else ".__main__")
    ).main
    with pytest.raises(SystemExit) as ended:
        main_of(words)

    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[0].endswith(f": unrecognized arguments: {named}")


def test_what_is_missing_is_named_where_nothing_else_is_wrong(capsys: pytest.CaptureFixture[str]):
    from p2pinfer.server.__main__ import main as server

    with pytest.raises(SystemExit):
        server(["--num-layers", "3"])

    assert "give a MODEL to begin a swarm with, or --initial-peers to join one" in capsys.readouterr().err


def test_the_programs_are_listed_with_a_line_each(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 0
    listing = capsys.readouterr().out

    for name, purpose in PROGRAMS.items():
        assert any(line.split() == [name, *purpose.split()] for line in listing.splitlines()), name
    with pytest.raises(SystemExit) as ended:
        main(["sever"])
    assert ended.value.code == 2
    assert "server" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["server", "local-swarm", "local_swarm"])
def test_a_program_is_started_by_its_name(name: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as ended:
        main([name, "--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out == f"p2pinfer {__version__}\n"


@pytest.mark.parametrize(
    ("started_as", "spoken"),
    [
        ("/venv/bin/p2pinfer-local-swarm", "p2pinfer-local-swarm"),
        ("/venv/bin/p2pinfer", "p2pinfer local_swarm"),
        ("/checkout/p2pinfer/local_swarm/__main__.py", "python -m p2pinfer.local_swarm"),
        ("-c", "python -m p2pinfer.local_swarm"),
    ],
)
def test_help_names_the_program_as_it_was_started(
    started_as: str, spoken: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys, "argv", [started_as])

    assert spoken_name("local_swarm") == spoken


def test_flags_are_not_abbreviated():
    """An abbreviation would change its meaning with the next flag that is added."""
    parser = Parser()
    parser.add_argument("--cache-folder")

    with pytest.raises(SystemExit):
        parser.parse_args(["--cache", "x"])


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (UsageError("no such thing"), 2, "p2pinfer.test: no such thing\n"),
        (ModelError("it is damaged"), 1, "p2pinfer.test: it is damaged\n"),
        (KeyboardInterrupt(), 130, "p2pinfer.test: stopped\n"),
        (
            ModuleNotFoundError("No module named 'aiomqtt'", name="aiomqtt"),
            2,
            "p2pinfer.test needs aiomqtt: pip install 'p2pinfer[server]'\n",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line(
    error: BaseException, status: int, said: str, capsys: pytest.CaptureFixture[str]
):
    def fail() -> int:
        raise error

    assert run("test", fail) == status
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, "No such file", "x"),
        BrokenPipeError(errno.EPIPE, "a peer has gone"),
        ModuleNotFoundError(name="p2pinfer.x"),
    ],
)
def test_our_own_mistakes_keep_their_traceback(error: Exception):
    """A socket's broken pipe isn't one of the output."""

    def fail() -> int:
        raise error

    with pytest.raises(type(error)):
        run("test", fail)


def test_a_page_without_its_libraries_says_which(tmp_path: Path):
    flags = ["--initial-peers", "/ip4/127.0.0.1/tcp/9/p2p/x", "--data-folder", str(tmp_path)]
    done = answer_without("fastapi,uvicorn", "p2pinfer.health", *flags)

    assert done.returncode == 2
    assert done.stderr == "p2pinfer.health needs fastapi and uvicorn: pip install 'p2pinfer[health]'\n"
    assert list(tmp_path.iterdir()) == []


def test_documents_need_libraries_only_to_be_answered(tmp_path: Path):
    """Whoever looks at a job, or ends it, needs none."""
    store = ("--store", str(tmp_path / "jobs.sqlite"))
    swarm = ("--model", "m", "--initial-peers", "/ip4/127.0.0.1/tcp/9/p2p/x", "--out", str(tmp_path / "out"))
    run = answer_without("llguidance,pydantic", "p2pinfer.documents", "run", "x.jsonl", *swarm, *store)

    assert run.returncode == 2
    assert run.stderr == (
        "p2pinfer.documents needs llguidance and pydantic: pip install 'p2pinfer[documents]'\n"
    )
    assert answer_without("llguidance,pydantic", "p2pinfer.documents", "status", *store).returncode == 0
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_its_libraries_says_which_before_it_asks_anything(tmp_path: Path):
    done = answer_without("aiomqtt,hass_client", "p2pinfer.server", "m", "--data-folder", str(tmp_path))

    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == ("p2pinfer.server needs aiomqtt and hass-client: pip install 'p2pinfer[server]'\n")


def test_an_owner_needs_none_of_a_servers_libraries(tmp_path: Path):
    """A sponsor redeems with what a client has, and who begins may not have installed all."""
    folder = ("--data-folder", str(tmp_path))
    (tmp_path / "status").mkdir()

    for command in (["--help"], [*folder, "statement"], [*folder, "init"]):
        assert answer_without("aiohttp,aiomqtt,hass_client", "p2pinfer.owner", *command).returncode == 0


@pytest.mark.parametrize("program", ["swarm", "convert", "owner"])
def test_what_every_client_has_starts_without_the_extras(program: str):
    done = answer_without(
        "aiohttp,aiomqtt,dbus_fast,hass_client,fastapi,starlette,httptools,prometheus_client,uvicorn",
        f"p2pinfer.{program}",
        "--version",
    )

    assert (done.returncode, done.stdout) == (0, f"p2pinfer {__version__}\n"), done.stderr


def test_a_client_is_imported_without_the_extras():
    done = answer_without(
        "aiohttp,aiomqtt,dbus_fast,hass_client,fastapi,starlette,httptools,prometheus_client,uvicorn",
        "p2pinfer.client.plain",
    )

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flags", "status", "said"),
    [
        (["--help"], 0, "usage: scripts/quickstart"),
        (["--version"], 0, "p2pinfer "),
        (["--peers", "0"], 2, ""),
    ],
)
def test_quickstart_answers_before_anything_is_installed(
    flags: list[str], status: int, said: str, tmp_path: Path
):
    """In a checkout without .venv, by a Python that has no libraries."""
    for name in ("p2pinfer", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec "{Path(sys.executable).resolve()}" -S "$@"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["bash", str(tmp_path / "scripts" / "quickstart"), *flags],
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout[: len(said)]) == (status, said), done.stderr
    assert not (tmp_path / ".venv").exists()
    if status:
        assert done.stderr.splitlines()[-1] == "Try: scripts/quickstart --help"


@pytest.mark.parametrize("script", ["setup", "test"])
def test_the_scripts_explain_themselves(script: str, tmp_path: Path):
    """Before they do anything: the copy here has nothing to work with."""
    copy = tmp_path / "scripts" / script
    copy.parent.mkdir()
    copy.write_text((ROOT / "scripts" / script).read_text())
    done = subprocess.run(["bash", str(copy), "--help"], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: scripts/{script} ")
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted(["scripts", script])
