"""A peer's certificate, as its signed record brings it: read whole, before anybody believes the record.

Peers make their certificates with `wire/certificates.py`. One of another kind is refused, and so is one that
a TLS library may stumble over later: whoever has a record can use its certificate.
"""

from __future__ import annotations

import warnings
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, SignatureAlgorithmOID

from p2pinfer.errors import InvalidCertificateError

MAX_CERTIFICATE_BYTES = 1536
"""Those of our own kind have some 350."""


SERVER_NAME = "p2pinfer"
"""The name in all certificates. Trust comes from pinning the certificate, not from the name."""

SUBJECT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
SUBJECT_NAMES = x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)])


@lru_cache(maxsize=1024)  # a peer announces the same one again and again; reading takes 0.04 ms
def read_certificate(der: bytes) -> bytes:
    """Read a peer's certificate; returns it in PEM. This is the one place where such bytes are read.

    A key that isn't of P-256 is refused: verifying the signature of a huge RSA key takes seconds. Whether the
    certificate is valid now, TLS decides. Raises only InvalidCertificateError, whatever the bytes are.
    """
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise InvalidCertificateError(f"a certificate has at most {MAX_CERTIFICATE_BYTES} bytes")
    try:
        with warnings.catch_warnings(action="ignore"):  # a peer's oddities are no news for our user
            certificate = x509.load_der_x509_certificate(der)
            key = certificate.public_key()
            has_our_key = isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)
            is_ours = has_our_key and _is_of_our_kind(certificate)
    except Exception as error:  # the library's errors have no base of their own
        raise InvalidCertificateError("not an X.509 certificate as peers make them") from error
    if not has_our_key:
        raise InvalidCertificateError("a certificate whose key isn't one of P-256")
    if not is_ours:
        raise InvalidCertificateError("a certificate of a kind that no peer makes")
    return certificate.public_bytes(serialization.Encoding.PEM)


def _is_of_our_kind(certificate: x509.Certificate) -> bool:
    """Everything but key, number and times is the same in all. Raises what the library raises.

    The library reads a field when it is asked for, and so would fail where nobody expects it.
    """
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return (
        certificate.version is x509.Version.v3
        and certificate.subject.public_bytes() == certificate.issuer.public_bytes() == SUBJECT.public_bytes()
        and names.value == SUBJECT_NAMES
        and certificate.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256
        and certificate.serial_number > 0
        and certificate.not_valid_before_utc < certificate.not_valid_after_utc
    )
