"""The router's program: compiled at its first use and kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path

from p2pinfer.folders import user_cache_folder
from scripts.lab.errors import LabError, LabUnavailableError

SOURCES = Path(__file__).with_name("router_source")
COMPILE_FLAGS = ("-O2", "-std=c++17", "-Wall", "-Wextra", "-Werror")


def router_program(*, compiler: str | None = None, cache_folder: Path | None = None) -> Path:
    """The compiled router; `compiler` is $CXX or g++ if none is given.

    The file's name holds a hash of the sources, so that changed sources are compiled again.

    Raises LabUnavailableError without a compiler, LabError with the compiler's message if it fails.
    """
    compiler = compiler or os.environ.get("CXX", "g++")
    folder = (cache_folder or user_cache_folder()) / "lab"
    recipe = " ".join([*os.uname()[::4], compiler, *COMPILE_FLAGS]).encode()
    for source in sorted(SOURCES.glob("*.[ch]pp")):
        recipe += source.name.encode() + source.read_bytes()
    program = folder / f"router-{hashlib.sha256(recipe).hexdigest()[:16]}"
    if program.exists():
        return program
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "router"
        try:
            result = subprocess.run(
                [compiler, *COMPILE_FLAGS, "-o", str(made), str(SOURCES / "main.cpp")],
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise LabUnavailableError(
                f"the WAN lab needs a C++ compiler: {compiler} was not found (name one with CXX=...)"
            ) from error
        if result.returncode != 0:
            raise LabError(f"{compiler} can't compile {SOURCES}:\n{result.stderr}")
        made.replace(program)
    return program
