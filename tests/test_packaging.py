"""The files that describe the package agree with each other and with what lies in the checkout."""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

from p2pinfer.model.engine.native import build as native_build

ROOT = Path(__file__).parent.parent


def test_pip_and_native_build_compile_the_same_engine():
    """Every source, with the same flags; setuptools knows no wildcard, so a new file is easily forgotten."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (extension,) = settings["tool"]["setuptools"]["ext-modules"]

    folder = native_build.SOURCE_FOLDER.relative_to(ROOT)
    sources = [f"{folder.as_posix()}/{source}" for source in native_build.SOURCES]
    found = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("p2pinfer/**/*.cpp")]
    assert sorted(extension["sources"]) == sorted(sources)
    assert sorted(sources) == sorted(found)
    headers = [path.relative_to(ROOT).as_posix() for path in native_build.SOURCE_FOLDER.rglob("*.[hi]*")]
    assert sorted(extension["depends"]) == sorted(headers)
    assert sorted(extension["extra-compile-args"]) == sorted(native_build.COMPILE_FLAGS)
    assert extension["extra-link-args"] == list(native_build.LINK_FLAGS)


def test_every_requirement_has_a_pinned_release():
    """What setup.cfg asks for, scripts/constraints.txt pins."""
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    lines = settings["options"]["install_requires"] + settings["options.extras_require"]["test"]
    wanted = {re.split(r"[ <>=]", line)[0] for line in lines.splitlines() if line and line[0] != "#"}
    pins = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()

    assert wanted <= {pin.split("==")[0] for pin in pins if "==" in pin}
