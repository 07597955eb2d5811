"""The arrows between the folders, as the source has them, and what lies at the top of the checkout."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "p2pinfer"

SHARED = {"types", "errors", "folders", "hadamard", "private_files"}
FORBIDDEN = {
    "model": {"wire", "swarm", "owner", "client", "server", "demo", "health"},
    "wire": {"model", "swarm", "owner", "client", "server", "demo", "health"},
    "swarm": {"model", "wire", "owner", "client", "server", "demo", "health"},
    "owner": {"model", "client", "server", "demo", "health"},
    "client": {"owner", "server", "demo", "health"},
    "server": {"client", "demo", "health"},
    "health": {"model", "server", "demo"},
}
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "LICENSE", "README.md", "docs", "p2pinfer", "proto",
    "pyproject.toml", "scripts", "setup.cfg", "tests",
}  # fmt: skip


def imported_modules(path: Path) -> Iterator[str]:
    """Every module that a file imports, inside functions too, relative imports made absolute."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def importers(library: str) -> set[str]:
    """The files of the package that import a library."""
    return {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if any(module.split(".")[0] == library for module in imported_modules(path))
    }


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_only_where_its_arrows_point(folder: str):
    """model, wire and swarm stand alone; client and server meet only on the wire."""
    wrong = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (PACKAGE / folder).rglob("*.py")
        for module in imported_modules(path)
        if module.startswith("p2pinfer.") and module.split(".")[1] in FORBIDDEN[folder]
    }

    assert wrong == set()


def test_the_words_that_all_folders_share_import_none_of_them():
    """Otherwise importing an exception would import a folder."""
    for name in SHARED:
        own = {module for module in imported_modules(PACKAGE / f"{name}.py") if module.startswith("p2pinfer")}
        assert {module.split(".")[1] for module in own} <= SHARED


def test_only_swarm_imports_hivemind():
    """Everyone else sees the swarm through its typed view."""
    assert {path.split("/")[0] for path in importers("hivemind")} <= {"swarm"}


def test_only_quantization_imports_bitsandbytes():
    """One INT8 format, one place that knows whose it is."""
    assert importers("bitsandbytes") <= {"model/quantization.py"}


def test_each_way_to_learn_signals_has_one_place_that_knows_its_library():
    """A library that isn't there, or changes, is one file's matter."""
    assert importers("aiomqtt") == {"owner/signals/sources/mqtt.py"}
    assert importers("hass_client") == {"owner/signals/sources/home_assistant.py"}
    assert importers("dbus_fast") <= {"owner/signals/sources/system_bus.py", "owner/signals/sources/network_manager.py"}


def test_of_the_swarm_an_owner_needs_identities_only():
    """Statements and redemption are for machines that serve nothing, too."""
    owners = (PACKAGE / "owner").rglob("*.py")
    imported = {module for path in owners for module in imported_modules(path)}
    swarm = {module for module in imported if module.startswith("p2pinfer.swarm.")}
    assert {module.split(".")[2] for module in swarm} == {"identity"}


def test_importing_the_package_loads_neither_torch_nor_grpc():
    """`import p2pinfer` has no side effects and takes no time."""
    program = "import sys, p2pinfer; print([m for m in ('torch', 'grpc', 'hivemind') if m in sys.modules])"
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert printed.strip() == "[]"


def test_importing_the_client_loads_neither_torch_nor_transformers():
    """They take seconds, and are not needed before a model is loaded."""
    program = (
        "import sys; from p2pinfer import AutoDistributedModelForCausalLM;"
        "print([m for m in ('torch', 'transformers') if m in sys.modules])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert printed.strip() == "[]"


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(),
    reason="needs a git checkout to tell what is tracked",
)
def test_the_top_of_the_checkout_stays_short():
    """Tool settings go into setup.cfg and pyproject.toml, everything else into a folder."""
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert {line.split("/")[0] for line in tracked.splitlines()} <= TOP_LEVEL
