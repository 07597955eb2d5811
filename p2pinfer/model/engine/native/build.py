"""What the native engine is built from: the package's build and the developer's use the same list.

`python -m p2pinfer.model.engine.native.build` compiles it in place with the system's C++ compiler, which
is how a checkout without an installed build gets the engine.
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
SOURCES = (
    "abi.cpp",
    "cache.cpp",
    "dispatch.cpp",
    "isa_avx2.cpp",
    "isa_avx512vnni.cpp",
    "isa_avxvnni.cpp",
    "isa_neon.cpp",
    "isa_portable.cpp",
    "matrix.cpp",
    "model.cpp",
    "rotary.cpp",
    "step.cpp",
    "team.cpp",
)
COMPILE_FLAGS = ("-O3", "-std=c++17", "-ffp-contract=off", "-pthread", "-fvisibility=hidden")
"""No -march and no -ffast-math: each file names its own instruction set, and exactness needs every
operation as it is written. -ffp-contract=off keeps compilers from fusing what isn't written fused."""
LINK_FLAGS = ("-pthread",)


class BuildError(Exception):
    """The compiler is missing or refused; the message holds what it said."""


def build(target: Path, *, compiler: str = "g++", extra_flags: Sequence[str] = ()) -> None:
    """Compile the engine to the shared library `target`, replacing it only when all went well."""
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch)

        def compile_one(source: str) -> Path:
            made = folder / f"{source}.o"
            files = ["-c", str(SOURCE_FOLDER / source), "-o", str(made)]
            _run([compiler, *COMPILE_FLAGS, *extra_flags, "-fPIC", *files])
            return made

        with ThreadPoolExecutor(max_workers=os.cpu_count()) as threads:
            objects = list(threads.map(compile_one, SOURCES))
        library = folder / target.name
        _run([compiler, "-shared", *LINK_FLAGS, *extra_flags, "-o", str(library), *map(str, objects)])
        library.replace(target)


def _run(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(f"no C++ compiler: {command[0]} was not found") from error
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{result.stderr}")


def main() -> int:
    """Build into the package's folder with $CXX or g++."""
    try:
        build(FOLDER / f"_native{EXTENSION_SUFFIXES[0]}", compiler=os.environ.get("CXX", "g++"))
    except BuildError as error:
        print(f"native_build: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
