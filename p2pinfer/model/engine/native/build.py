"""Compiles the native engine in a checkout, with the flags that pip uses too.

`python -m p2pinfer.model.engine.native.build` writes the library beside this file, with $CXX or g++.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOURCE_FOLDER = FOLDER / "src"
SOURCES = tuple(sorted(path.relative_to(SOURCE_FOLDER).as_posix() for path in SOURCE_FOLDER.rglob("*.cpp")))
"""Paths below SOURCE_FOLDER. pyproject.toml has the same list, because setuptools knows no wildcard;
tests/test_packaging.py compares them. Empty in an installed package, which holds no .cpp files."""
COMPILE_FLAGS = ("-O3", "-std=c++17", "-ffp-contract=off", "-pthread", "-fvisibility=hidden")
"""No -march and no -ffast-math: each file of src/isa names its own instruction set, and exactness needs
every operation as it is written. -ffp-contract=off keeps compilers from fusing a * b + c."""
LINK_FLAGS = ("-pthread",)


class BuildError(Exception):
    """The engine was not built. The message holds the compiler's output."""


def build(target: Path, *, compiler: str = "g++", extra_flags: Sequence[str] = ()) -> None:
    """Compile the engine to the shared library `target`. A failed build leaves an older library in place.

    Raises BuildError.
    """
    if not SOURCES:
        raise BuildError(f"there are no C++ sources in {SOURCE_FOLDER}: build in a checkout of p2pinfer")
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch)

        def compile_one(source: str) -> Path:
            compiled = folder / f"{source.replace('/', '-')}.o"
            files = ["-c", str(SOURCE_FOLDER / source), "-o", str(compiled)]
            _run([compiler, *COMPILE_FLAGS, *extra_flags, "-fPIC", *files])
            return compiled

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            objects = list(threads.map(compile_one, SOURCES))
        library = folder / target.name
        _run([compiler, "-shared", *LINK_FLAGS, *extra_flags, "-o", str(library), *map(str, objects)])
        library.replace(target)


def _run(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} was not found: install a C++17 compiler") from error
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{result.stderr}")


def main() -> int:
    """Build into the package's folder with $CXX or g++."""
    try:
        build(FOLDER / f"_native{EXTENSION_SUFFIXES[0]}", compiler=os.environ.get("CXX", "g++"))
    except BuildError as error:
        print(f"p2pinfer.model.engine.native.build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
