"""Compiles driver.cpp: tests of the engine that run without Python.

`python -m tests.model.engine.native.driver.build FOLDER` writes FOLDER/native_driver for the installed
engine. --compiler and --flags also build an engine, for another processor or with a sanitizer inside.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from p2pinfer.errors import UsageError
from p2pinfer.model.engine.native.build import COMPILE_FLAGS, LINK_FLAGS, SOURCE_FOLDER, BuildError, build
from p2pinfer.model.engine.native.library import library

SOURCE = Path(__file__).with_name("driver.cpp")


def compile_driver(target: Path, engine: Path, *, compiler: str = "g++", flags: Sequence[str] = ()) -> None:
    """Link the driver to the engine at `engine`, which must stay there."""
    # Quick to compile: what is tested is the engine. Exactness asks the same of the driver as of it.
    options = [*COMPILE_FLAGS, "-O1", *flags, "-Wall", "-Wextra", "-Werror", f"-I{SOURCE_FOLDER}"]
    command = [compiler, *options, str(SOURCE), str(engine.resolve()), *LINK_FLAGS, "-o", str(target)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BuildError(f"{' '.join(command)}\n{result.stderr}")


def installed_engine() -> Path:
    """The compiled engine that this Python loads. Raises UsageError if there is none."""
    return Path(library()._name)


def emulation_flags() -> list[str]:
    """What lets this processor run one more instruction set than it has: AVX-VNNI's in AVX-512's encoding."""
    try:
        features = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return []
    emulate = "avx512_vnni" in features and "avx_vnni" not in features
    return ["-DP2PINFER_AVXVNNI_BY_AVX512"] if emulate else []


def main(argv: Sequence[str] | None = None) -> int:
    """Build the driver, and the engine if asked to, into a folder."""
    parser = argparse.ArgumentParser(prog="native_driver", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--compiler")
    parser.add_argument("--flags", help="for the compiler, separated by spaces")
    options = parser.parse_args(argv)
    compiler, flags = options.compiler or "g++", (options.flags or "").split()
    options.folder.mkdir(exist_ok=True)
    try:
        if options.compiler or flags:
            engine = options.folder / "_native.so"
            build(engine, compiler=compiler, extra_flags=[*flags, *emulation_flags()])
        else:
            engine = installed_engine()
        compile_driver(options.folder / "native_driver", engine, compiler=compiler, flags=flags)
    except (BuildError, UsageError) as error:
        print(f"native_driver: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
