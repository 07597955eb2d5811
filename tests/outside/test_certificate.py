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
from p2pinfer.outside.certificate import SUBJECT_NAMES, read_certificate
from p2pinfer.wire.certificates import new_certificate, pinned, pinned_context
from tests.outside.certificates import VERSION_3
from tests.spoiled import spoiled

VALID = new_certificate().der
READERS = (pinned, pinned_context)
HUGE_MODULUS = 2**8191 + 1
SERIAL_NUMBER = VALID.index(VERSION_3) + len(VERSION_3)
BASIC_CONSTRAINTS, SUBJECT_ALTERNATIVE_NAME = bytes.fromhex("551d13"), bytes.fromhex("551d11")


def certificate_of(public_key: object, sign_with: object = None) -> bytes:
    """A certificate that only its key and its signature set apart from ours."""
    return certificate_with(public_key=public_key, sign_with=sign_with)


def certificate_with(
    *,
    public_key: object = None,
    sign_with: object = None,
    subject: str = "p2pinfer",
    issuer: str = "p2pinfer",
    names: x509.ExtensionType | None = SUBJECT_NAMES,
    digest: hashes.HashAlgorithm | None = None,
    days: int = 1,
) -> bytes:
    """A certificate that is ours but for what is given."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    now = datetime.datetime.now(datetime.UTC)
    until = now + datetime.timedelta(days=days)
    builder = x509.CertificateBuilder(called[1], called[0], public_key or key.public_key(), 1, now, until)
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    signed = builder.sign(sign_with or key, digest or hashes.SHA256())
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


@pytest.mark.parametrize(
    "der",
    [
        pytest.param(certificate_with(subject="other"), id="the name of another"),
        pytest.param(certificate_with(issuer="other"), id="issued by another"),
        pytest.param(certificate_with(names=None), id="no name for TLS"),
        pytest.param(
            certificate_with(names=x509.SubjectAlternativeName([x509.DNSName("bank.example")])),
            id="another name for TLS",
        ),
        pytest.param(certificate_with(names=x509.SubjectAlternativeName([])), id="an empty list of names"),
        pytest.param(certificate_with(digest=hashes.SHA512()), id="another digest"),
        pytest.param(certificate_with(days=0), id="never valid"),
        pytest.param(VALID + bytes(1537 - len(VALID)), id="too long"),
    ],
)
def test_a_certificate_that_no_tls_would_take_or_no_peer_makes_is_refused(der: bytes) -> None:
    with pytest.raises(InvalidCertificateError):
        read_certificate(der)


def test_our_own_certificate_is_read_and_so_is_one_that_has_expired() -> None:
    """Who says so may have another clock: TLS decides, when somebody connects."""
    for der in (VALID, new_certificate(lifetime_days=0).der):
        assert read_certificate(der).startswith(b"-----BEGIN CERTIFICATE-----")


@given(spoiled(VALID, certificate_of(ec.generate_private_key(ec.SECP256R1()).public_key())))
def test_any_bytes_are_a_certificate_or_one_error(der: bytes) -> None:
    try:
        read_certificate(der)
    except InvalidCertificateError:
        return
    for read in READERS:  # what is believed with a record can be used
        read(der)
