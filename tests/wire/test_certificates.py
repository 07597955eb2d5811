"""A stranger's certificate: one that peers make, or one error."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given

from p2pinfer.errors import InvalidCertificateError
from p2pinfer.wire.certificates import new_certificate, pinned, pinned_context
from tests.spoiled import spoiled

VALID = new_certificate().der
READERS = (pinned, pinned_context)
HUGE_MODULUS = 2**8191 + 1
VERSION_3 = bytes.fromhex("a003020102")
SERIAL_NUMBER = VALID.index(VERSION_3) + len(VERSION_3)
BASIC_CONSTRAINTS, SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d13"), bytes.fromhex("551d11")


def certificate_of(public_key: object, sign_with: object = None) -> bytes:
    """A certificate that only its key sets apart from ours."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "p2pinfer")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, public_key, 1, now, now + datetime.timedelta(days=1))
    signed = builder.sign(sign_with or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "der",
    [
        pytest.param(VALID.replace(VERSION_3, VERSION_3[:-1] + b"\x0e"), id="X.509 version 15"),
        pytest.param(VALID + b"\0", id="one more byte"),
        pytest.param(VALID + VALID, id="twice"),
        pytest.param(VALID[:-1], id="cut short"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"PEM" + VALID, id="a word before"),
        pytest.param(b"\x30\x84\xff\xff\xff\xff" + VALID, id="a length of 4 GB"),
        pytest.param(b"\x30\x80" * 500, id="nested without end"),
    ],
)
def test_what_is_no_certificate_is_one_error(read: Callable[[bytes], object], der: bytes) -> None:
    with pytest.raises(InvalidCertificateError, match="not an X"):
        read(der)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "public_key",
    [
        pytest.param(ed25519.Ed25519PrivateKey.generate().public_key(), id="Ed25519"),
        pytest.param(ec.generate_private_key(ec.SECP384R1()).public_key(), id="another curve"),
        pytest.param(rsa.RSAPublicNumbers(65537, 2**2047 + 1).public_key(), id="RSA"),
        pytest.param(rsa.RSAPublicNumbers(2**32 + 1, HUGE_MODULUS).public_key(), id="RSA of 8192 bits"),
        pytest.param(dsa.generate_private_key(1024).public_key(), id="DSA"),
    ],
)
def test_a_certificate_with_a_key_that_no_peer_makes_is_refused(
    read: Callable[[bytes], object], public_key: object
) -> None:
    """Some take seconds to verify a signature with."""
    with pytest.raises(InvalidCertificateError, match="P-256"):
        read(certificate_of(public_key))


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "der",
    [
        pytest.param(
            VALID[: SERIAL_NUMBER + 2]
            + bytes([VALID[SERIAL_NUMBER + 2] | 0x80])
            + VALID[SERIAL_NUMBER + 3 :],
            id="a negative serial number",
        ),
        pytest.param(VALID.replace(SUBJECT_ALTERNATIVE_NAME, BASIC_CONSTRAINTS), id="an extension twice"),
        pytest.param(
            VALID.replace(SUBJECT_ALTERNATIVE_NAME, b"\x55\x1d\x0f"), id="another extension's bytes"
        ),
        pytest.param(VALID[:-1] + bytes([VALID[-1] ^ 1]), id="a wrong signature"),
    ],
)
def test_an_odd_certificate_is_pinned_or_refused_and_warns_nobody(
    read: Callable[[bytes], object], der: bytes
) -> None:
    """Warnings are errors in tests; in a server they would fill its log. The TLS handshake decides."""
    with suppress(InvalidCertificateError):
        read(der)


@given(spoiled(VALID, certificate_of(ec.generate_private_key(ec.SECP256R1()).public_key())))
def test_any_bytes_are_a_certificate_or_one_error(der: bytes) -> None:
    for read in READERS:
        with suppress(InvalidCertificateError):
            read(der)
