"""The arrows between the folders, as the source has them, and what lies at the top of the checkout."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "p2pinfer"

GROUND_FLOOR = {
    "backoff", "command_line", "database", "errors", "fairness", "folders", "hadamard", "identity",
    "outside", "plain_text", "price", "private_files", "tasks", "threads", "types",
}  # fmt: skip
"""Words and small tools that every folder may use; they use nothing but each other."""

SHELVES = (
    "model", "wire", "swarm", "sharing", "owner", "client", "server", "http", "health",
    "openai_api", "documents", "gateway", "local_swarm",
)  # fmt: skip
MAY_USE = {
    "model": set(),
    "wire": set(),
    "swarm": set(),
    "sharing": {"model", "wire", "swarm"},
    "owner": {"wire"},
    "client": {"model", "wire", "swarm", "sharing"},
    "server": {"model", "wire", "swarm", "sharing", "owner"},
    "http": set(),
    "health": {"wire", "swarm", "owner", "client", "http"},
    "openai_api": {"model", "client"},
    "documents": {"model", "owner", "client", "openai_api"},
    "gateway": {"model", "swarm", "sharing", "client", "http", "openai_api", "documents"},
    "local_swarm": {"model", "client", "http", "openai_api", "gateway"},
}
PUBLIC_NAMES = {"__version__", "AutoDistributedModelForCausalLM"}
"""Of the package itself."""

MOST_FILES = 14
MOST_LINES = 400
GENERATED = ("_pb2.py", "_pb2.pyi", "_pb2_grpc.py")
TOP_LEVEL = {
    ".ci", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md", "SECURITY.md", "docs",
    "p2pinfer", "proto", "pyproject.toml", "scripts", "setup.cfg", "tests",
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


def modules() -> dict[str, Path]:
    """The package's modules by name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(among: dict[str, Path]) -> dict[str, set[str]]:
    """Which of the package's modules each module imports."""
    return {name: set(imported_modules(path)) & set(among) - {name} for name, path in among.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """What is left of a graph when everything that leads to no circle is taken away."""
    left = dict(graph)
    while leaves := [node for node, targets in left.items() if not targets & left.keys()]:
        for node in leaves:
            del left[node]
    return sorted(left)


def room_of(path: Path) -> str:
    """A folder within a shelf is a room; a file that lies directly on its shelf is a room by itself."""
    within = path.relative_to(PACKAGE)
    return within.parent.as_posix() if len(within.parts) > 2 else within.as_posix()


@pytest.mark.parametrize("shelf", SHELVES)
def test_a_folder_imports_only_where_its_arrows_point(shelf: str):
    """model, wire and swarm stand alone; client and server meet only on the wire."""
    allowed = GROUND_FLOOR | MAY_USE[shelf] | {shelf}
    wrong = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in (PACKAGE / shelf).rglob("*.py")
        for module in imported_modules(path)
        if module.startswith("p2pinfer.") and module.split(".")[1] not in {*allowed, *PUBLIC_NAMES}
    }

    assert wrong == set()


def test_the_ground_floor_uses_nothing_but_itself():
    """Otherwise importing an exception would import a folder."""
    wrong = {
        f"{name} imports {module}"
        for name, path in modules().items()
        if name != "p2pinfer" and name.split(".")[1] in GROUND_FLOOR
        for module in imported_modules(path)
        if module.startswith("p2pinfer.") and module.split(".")[1] not in {*GROUND_FLOOR, "__version__"}
    }

    assert wrong == set()


def test_no_module_imports_itself_by_way_of_others():
    among = {name: path for name, path in modules().items() if path.name != "__init__.py"}

    assert circle(arrows(among)) == []


def test_no_room_uses_itself_by_way_of_others():
    """Arrows between folders go one way, within a shelf as well."""
    among = modules()
    rooms: dict[str, set[str]] = {}
    for name, targets in arrows(among).items():
        if among[name].name in ("__init__.py", "__main__.py"):
            continue
        here = room_of(among[name])
        there = {room_of(among[target]) for target in targets if among[target].name != "__init__.py"}
        rooms.setdefault(here, set()).update(there - {here})

    assert circle(rooms) == []


def written_files(*endings: str) -> Iterator[Path]:
    """The files that people write, with these endings."""
    for top in ("p2pinfer", "tests", "scripts"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in endings and not path.name.endswith(GENERATED):
                yield path


def test_no_folder_is_a_heap():
    """A folder with more files than that is asking for rooms; `__init__.py` is its door and doesn't count."""
    files = Counter(path.parent for path in written_files(".py") if path.name != "__init__.py")
    heaps = {folder.relative_to(ROOT).as_posix(): n for folder, n in files.items() if n > MOST_FILES}

    assert heaps == {}


def test_no_file_is_two_files():
    """A longer file holds more than one noun."""
    lengths = {path: path.read_text().count("\n") for path in written_files(".py", ".cpp", ".hpp", ".inl")}
    long = {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > MOST_LINES}

    assert long == {}


def test_only_swarm_imports_hivemind():
    """Everyone else sees the swarm through its typed view."""
    assert {path.split("/")[0] for path in importers("hivemind")} <= {"swarm"}


def test_only_quantization_imports_bitsandbytes():
    """One INT8 format, one place that knows whose it is."""
    assert importers("bitsandbytes") <= {"model/engine/reference/bitsandbytes_linear.py"}


def test_each_way_to_learn_signals_has_one_place_that_knows_its_library():
    """A library that isn't there, or changes, is one file's matter."""
    assert importers("aiomqtt") == {"owner/signals/sources/mqtt.py"}
    assert importers("hass_client") == {"owner/signals/sources/home_assistant.py"}
    assert importers("dbus_fast") <= {
        "owner/signals/sources/system_bus.py",
        "owner/signals/sources/network_manager.py",
    }


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
