"""A peer's identity: an Ed25519 key in libp2p's format, kept in a file, and the peer id derived from it.

Ed25519 instead of RSA: a signature takes 50 us, records stay small, and the peer id contains the public key
(an identity multihash), so the key doesn't have to be looked up. p2pd reads the same file.
Formats: https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md
"""

from __future__ import annotations

import fcntl
import hmac
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import base58
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from p2pinfer.errors import UsageError
from p2pinfer.outside.trusted_files import check_only_ours
from p2pinfer.price.proof import unpaid
from p2pinfer.private_files import write_private
from p2pinfer.types import PeerId

# Protobuf by hand, because the encoding never varies: field 1 is the key type (1: Ed25519), field 2 the key.
_PRIVATE_KEY_PREFIX = b"\x08\x01\x12\x40"
_PUBLIC_KEY_PREFIX = b"\x08\x01\x12\x20"
_IDENTITY_MULTIHASH_PREFIX = b"\x00\x24"
_PRIVATE_FILE_BYTES = len(_PRIVATE_KEY_PREFIX) + 64
PUBLIC_KEY_BYTES = len(_PUBLIC_KEY_PREFIX) + 32
PEER_ID_BYTES = len(_IDENTITY_MULTIHASH_PREFIX) + PUBLIC_KEY_BYTES
SIGNATURE_BYTES = 64


class Identity:
    """A peer's key pair. Make one with `load_or_create` (persistent) or `ephemeral`."""

    def __init__(self, private_key: Ed25519PrivateKey, path: Path | None = None) -> None:
        self._private_key = private_key
        self.path = path
        self.public_key: bytes = _PUBLIC_KEY_PREFIX + private_key.public_key().public_bytes_raw()
        self.peer_id: PeerId = peer_id_of(self.public_key)
        self.proof: bytes = unpaid()
        """That the price of an identity was paid: empty until `price.paying.pay`. Readers need none."""

    def __repr__(self) -> str:
        return f"Identity({self.peer_id})"  # never the private key

    @classmethod
    def ephemeral(cls) -> Identity:
        """Make a new identity that isn't saved."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: str | Path) -> Identity:
        """Read the key file at `path`, or write a new one there that only its owner can read.

        Raises UsageError, naming the file, if it can't be read or written, holds another kind of data, or can
        be written by others.
        """
        path = Path(path).expanduser()
        check_only_ours(path, f"identity file {path}")
        try:
            return cls._parse(path.read_bytes(), path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise UsageError(
                f"identity file {path} can't be read ({error.strerror}): check its permissions"
            ) from error
        try:
            write_private(path, cls.ephemeral().to_bytes(), replace=False)
            return cls._parse(path.read_bytes(), path)  # a faster process may have written its own
        except OSError as error:
            raise UsageError(
                f"identity file {path} can't be written ({error.strerror}): make room or give write "
                "permission, or choose another folder"
            ) from error

    @classmethod
    def _parse(cls, data: bytes, path: Path) -> Identity:
        advice = f"restore it from a backup, or delete {path} to get a new identity (and a new peer id)"
        if len(data) != _PRIVATE_FILE_BYTES or not data.startswith(_PRIVATE_KEY_PREFIX):
            raise UsageError(f"identity file {path} doesn't hold an Ed25519 key of libp2p: {advice}")
        seed, public = data[4:36], data[36:]
        private_key = Ed25519PrivateKey.from_private_bytes(seed)
        if private_key.public_key().public_bytes_raw() != public:
            raise UsageError(f"identity file {path} is damaged (its two halves don't match): {advice}")
        return cls(private_key, path)

    def to_bytes(self) -> bytes:
        """The private key as libp2p's PrivateKey protobuf, the format of p2pd's -id file. Keep it secret."""
        raw = self._private_key.private_bytes_raw()
        return _PRIVATE_KEY_PREFIX + raw + self.public_key[len(_PUBLIC_KEY_PREFIX) :]

    def sign(self, data: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `data`.

        The caller puts a prefix before the data that says for what they are signed.
        """
        return self._private_key.sign(data)

    def derived_key(self, purpose: bytes) -> bytes:
        """A secret of 32 bytes that only this identity can make, the same every time, for one purpose."""
        return hmac.digest(self._private_key.private_bytes_raw(), purpose, "sha256")

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Lock the identity's file, so that no second process on this machine uses it.

        Where two peers have one id, libp2p drops the connections of both and gives no reason. Raises
        UsageError if another process has the lock.
        """
        if self.path is None:
            yield
            return
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise UsageError(
                    f"identity file {self.path} is in use by another peer: give each its own --identity FILE"
                ) from error
            yield
        finally:
            os.close(descriptor)


def verify(public_key: bytes, data: bytes, signature: bytes) -> bool:
    """True if `signature` is valid for `data` and `public_key` (36 bytes, libp2p's protobuf)."""
    if len(public_key) != PUBLIC_KEY_BYTES or not public_key.startswith(_PUBLIC_KEY_PREFIX):
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public_key[len(_PUBLIC_KEY_PREFIX) :]).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def peer_id_of(public_key: bytes) -> PeerId:
    """The peer id of an Ed25519 public key. Raises ValueError for other bytes."""
    if len(public_key) != PUBLIC_KEY_BYTES or not public_key.startswith(_PUBLIC_KEY_PREFIX):
        raise ValueError("not an Ed25519 public key in libp2p's format")
    return PeerId(base58.b58encode(_IDENTITY_MULTIHASH_PREFIX + public_key).decode())


def public_key_of(peer_id: str) -> bytes:
    """The public key inside an Ed25519 peer id (12D3Koo...). Raises ValueError for other text."""
    return peer_id_to_bytes(peer_id)[len(_IDENTITY_MULTIHASH_PREFIX) :]


def peer_id_to_bytes(peer_id: str) -> bytes:
    """The 38 bytes that `peer_id` encodes. Raises ValueError if it isn't an Ed25519 peer id."""
    if len(peer_id) > 64:
        raise ValueError("a peer id has 52 characters")
    raw = base58.b58decode(peer_id)
    peer_id_from_bytes(raw)
    return raw


def peer_id_from_bytes(raw: bytes) -> PeerId:
    """The inverse of `peer_id_to_bytes`. Raises ValueError if `raw` isn't an Ed25519 peer id."""
    prefix = _IDENTITY_MULTIHASH_PREFIX + _PUBLIC_KEY_PREFIX
    if len(raw) != PEER_ID_BYTES or not raw.startswith(prefix):
        raise ValueError("not an Ed25519 peer id")
    return PeerId(base58.b58encode(raw).decode())
