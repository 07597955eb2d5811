"""Records with a certificate that no reader expects, where everybody reads them: in the DHT."""

from __future__ import annotations

import asyncio
import datetime
import os
import time
from contextlib import AsyncExitStack

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from p2pinfer.errors import SwarmError
from p2pinfer.identity import Identity
from p2pinfer.swarm import record_pb2
from p2pinfer.swarm.cells.keys import root_key
from p2pinfer.swarm.cells.place import place_of
from p2pinfer.swarm.coordinates.quantized import ORIGIN
from p2pinfer.swarm.kademlia.validator import Record, RecordValidator
from p2pinfer.swarm.records.signed import parse_envelope, seal
from p2pinfer.swarm.swarm import Swarm
from p2pinfer.wire.certificates import new_certificate
from scripts.benchmarks.hostile.attacks.scene import Scene
from scripts.benchmarks.identities.paid import paid_identities

_AGAIN_SECONDS = 3.0
_RECORD_SECONDS = 60.0


async def records(scene: Scene) -> None:
    """A few members announce servers without a fault but one: the certificate."""
    RecordValidator.validate = lambda self, record: True  # type: ignore[method-assign]  # ours asks nobody
    spoiled = certificates()
    async with AsyncExitStack() as stack:
        identities = stack.enter_context(paid_identities(scene.number("identities")))
        members = [
            await stack.enter_async_context(Swarm.join(scene.initial_peers, identity, client_only=True))
            for identity in identities
        ]
        scene.begun.set()
        while True:
            for number, (identity, member) in enumerate(zip(identities, members, strict=True)):
                name, certificate = spoiled[number % len(spoiled)]
                expires_at = time.time() + _RECORD_SECONDS
                record = Record(
                    peer_id=identity.peer_id,
                    data=_record(scene, identity, certificate, expires_at),
                    expires_at=expires_at,
                    tree=scene.model,
                    place=place_of(ORIGIN, identity.peer_id),
                    proof=identity.proof,
                )
                scene.tally.counts["attempts"] += 1
                try:
                    answers = await member.put([root_key(scene.model)], record)
                except SwarmError as error:
                    scene.tally.refused(error)
                    continue
                if any(not answer.refusal for answer in answers):
                    scene.tally.counts["records kept"] += 1
                else:
                    scene.tally.refusals[f"nobody keeps a certificate that is {name}"] += 1
            await asyncio.sleep(_AGAIN_SECONDS)


def _record(scene: Scene, identity: Identity, certificate: bytes, expires_at: float) -> bytes:
    """A record like an honest server's, with another key, certificate and time."""
    envelope, _ = parse_envelope(scene.last.record)
    message = record_pb2.ServerRecord.FromString(envelope.payload)
    message.certificate = certificate
    message.announced_at, message.expires_at = time.time(), expires_at
    message.ClearField("cell")
    message.cell.x, message.cell.y, message.cell.height = ORIGIN.x, ORIGIN.y, ORIGIN.height
    del message.maddrs[:], message.relays[:]
    payload = message.SerializeToString(deterministic=True)
    return seal(identity, record_pb2.RECORD_KIND_SERVER, payload)


def certificates() -> list[tuple[str, bytes]]:
    """Certificates that are spoiled in one way each, by name."""
    right = new_certificate().der
    version = right.index(b"\xa0\x03\x02\x01\x02") + 4
    curve384 = _certificate(ec.generate_private_key(ec.SECP384R1()))
    return [
        ("of X.509 version 15", right[:version] + b"\x0e" + right[version + 1 :]),
        ("of X.509 version 256", right[:version] + b"\xff" + right[version + 1 :]),
        ("cut off", right[: len(right) // 2]),
        ("noise", os.urandom(len(right))),
        ("one of RSA", _certificate(rsa.generate_private_key(65537, 4096))),
        ("one of DSA", _certificate(dsa.generate_private_key(1024))),
        ("one of Ed25519", _certificate(ed25519.Ed25519PrivateKey.generate())),
        ("of another curve", curve384),
        ("twice itself", right + right),
        ("with a wrong time", _with_wrong_time(right)),
        ("with its bits turned round", bytes(byte ^ 0xFF for byte in right)),
    ]


_Key = rsa.RSAPrivateKey | dsa.DSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def _certificate(key: _Key) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "p2pinfer")])
    now = datetime.datetime.now(datetime.UTC)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, algorithm)
        .public_bytes(serialization.Encoding.DER)
    )


def _with_wrong_time(certificate: bytes) -> bytes:
    """A year with letters in it: it is read only when somebody asks for it."""
    at = certificate.index(b"\x17\x0d") + 2
    return certificate[:at] + b"XX" + certificate[at + 2 :]
