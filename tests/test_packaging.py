"""The files that describe the package agree with each other and with what lies in the checkout."""

from __future__ import annotations

import os
import pkgutil
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from configparser import ConfigParser
from pathlib import Path

import pytest

from p2pinfer import __version__
from p2pinfer.__main__ import PROGRAMS, module_name
from p2pinfer.command_line.extras import EXTRAS
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


def setup_cfg() -> ConfigParser:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings


def names(requirements: str) -> set[str]:
    """The packages of a list of requirements, without versions and comments."""
    lines = [line for line in requirements.splitlines() if line and line[0] != "#"]
    return {re.split(r"[ <>=;\[]", line)[0] for line in lines}


def test_every_requirement_has_a_pinned_release():
    """What setup.cfg asks for, scripts/constraints.txt pins."""
    settings = setup_cfg()
    wanted = names(settings["options"]["install_requires"])
    for extra in (*EXTRAS, "test"):
        wanted |= names(settings["options.extras_require"][extra])
    pins = (ROOT / "scripts" / "constraints.txt").read_text().splitlines()

    assert wanted - {"p2pinfer"} <= {pin.split("==")[0] for pin in pins if "==" in pin}


def test_the_extras_are_those_that_programs_ask_for():
    """A missing library is named with the extra that has it; `all` and `test` have all of them."""
    extras = setup_cfg()["options.extras_require"]

    assert {extra: names(extras[extra]) for extra in EXTRAS} == {
        extra: set(packages.values()) | ({"dbus-fast"} if extra == "server" else set())
        for extra, packages in EXTRAS.items()
    }
    assert extras["all"].split() == [f"p2pinfer[{','.join(EXTRAS)}]"]
    assert "p2pinfer[all]" in extras["test"].split()


def test_what_is_in_an_extra_is_no_requirement_of_a_client():
    settings = setup_cfg()
    of_extras = {package for packages in EXTRAS.values() for package in packages.values()}

    assert names(settings["options"]["install_requires"]) & of_extras == set()


def test_every_program_has_a_console_script():
    """`p2pinfer` lists them; the others are one program each."""
    lines = setup_cfg()["options.entry_points"]["console_scripts"].split("\n")
    scripts = dict(line.split(" = ") for line in lines if line)
    expected = {"p2pinfer": "p2pinfer.__main__:main"} | {
        f"p2pinfer-{name}": f"p2pinfer.{module_name(name)}:main" for name in PROGRAMS
    }

    assert scripts == expected
    for target in scripts.values():
        assert callable(pkgutil.resolve_name(target))
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"].count("scripts") == 1


def test_the_programs_start_in_the_folder_above_the_checkout(tmp_path: Path):
    """There the checkout's own folder, if it is called p2pinfer, looks like a namespace package.

    A copy is installed as `pip install -e .` does it, and the native engine is left out to be quick.
    """
    pytest.importorskip("setuptools")
    checkout = tmp_path / "p2pinfer"
    without_builds = shutil.ignore_patterns("*.so", "__pycache__")
    shutil.copytree(ROOT / "p2pinfer", checkout / "p2pinfer", ignore=without_builds)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, checkout)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    build = subprocess.run(
        [sys.executable, "-c", "from setuptools.build_meta import build_editable; build_editable('..')"],
        cwd=checkout,
        env=environment | {"CC": "false", "CXX": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert build.returncode == 0, build.stderr
    venv.create(tmp_path / "venv", with_pip=False)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))

    done = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-m", "p2pinfer.server", "--version"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"p2pinfer {__version__}\n"), done.stderr


def test_the_licence_is_the_one_that_the_package_names():
    metadata = setup_cfg()["metadata"]
    text = (ROOT / metadata["license_files"]).read_text()

    assert metadata["license_expression"] == "Apache-2.0"
    assert "Apache License" in text and "Version 2.0, January 2004" in text


def test_the_version_is_the_same_everywhere():
    assert setup_cfg()["metadata"]["version"] == __version__
