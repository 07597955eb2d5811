"""Where a proof is kept between processes: beside the key file, as hexadecimal digits. It is no secret."""

from __future__ import annotations

from pathlib import Path

from p2pinfer.price.proof import PROOF_BYTES, is_paid
from p2pinfer.private_files import write_private

_FILE_BYTES = 2 * PROOF_BYTES + 1  # with the end of the line


def proof_file(key_file: Path) -> Path:
    """The file that the proof of a key is kept in."""
    return key_file.with_name(f"{key_file.name}.proof")


def read_proof(key_file: Path, public_key: bytes) -> bytes | None:
    """The kept proof of a key; None if there is none, or if it isn't worth the price."""
    path = proof_file(key_file)
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            proof = bytes.fromhex(file.read(_FILE_BYTES + 1).decode("ascii"))
    except (OSError, ValueError):  # of another price, damaged, not ours to read: a new one costs seconds
        return None
    return proof if is_paid(public_key, proof) else None


def keep_proof(key_file: Path, proof: bytes) -> None:
    """Write the proof of a key, in the place of an older one. Raises OSError."""
    write_private(proof_file(key_file), f"{proof.hex()}\n".encode(), replace=True)
