"""The certificate that a server makes for itself, and that its signed swarm record names."""

from __future__ import annotations

import datetime
import ssl
import tempfile
import warnings
from dataclasses import dataclass

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from p2pinfer.errors import InvalidCertificateError

SERVER_NAME = "p2pinfer"
"""The name in all certificates. Trust comes from pinning the certificate, not from the name."""

LANE_PROTOCOL = "p2pinfer-lane/5"
"""What lanes ask for in ALPN; the number is the version of lanes and steps, see docs/protocol.md."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate, and what gRPC and lanes need to use it with its private key."""

    der: bytes
    credentials: grpc.ServerCredentials
    lanes: ssl.SSLContext  # the server side of lanes


def new_certificate(lifetime_days: int = 365) -> Certificate:
    """Make a P-256 key and a certificate for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=lifetime_days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem_key = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem_certificate = certificate.public_bytes(serialization.Encoding.PEM)
    return Certificate(
        der=certificate.public_bytes(serialization.Encoding.DER),
        credentials=grpc.ssl_server_credentials([(pem_key, pem_certificate)]),
        lanes=_server_context(pem_key, pem_certificate),
    )


def _server_context(pem_key: bytes, pem_certificate: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([LANE_PROTOCOL])
    context.num_tickets = 0  # a side that only writes would never read them, and its close would lose data
    with tempfile.NamedTemporaryFile() as file:  # ssl reads keys only from files; this one only we can read
        file.write(pem_key + pem_certificate)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def read_certificate(der: bytes) -> bytes:
    """Read a peer's certificate; returns it in PEM. This is the one place where such bytes are read.

    Peers make their certificates with `new_certificate`, so another kind of key is refused: verifying the
    signature of a huge RSA key takes seconds. The caller pins the certificate, which checks nothing else in
    it: a wrong name or date lets the TLS handshake fail. Raises only InvalidCertificateError, whatever the
    bytes are.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # a peer's oddities are no news for our user
            certificate = x509.load_der_x509_certificate(der)
            key = certificate.public_key()
    except Exception as error:  # the library's errors have no base of their own
        raise InvalidCertificateError("not an X.509 certificate") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidCertificateError("a certificate whose key isn't one of P-256")
    return certificate.public_bytes(serialization.Encoding.PEM)


def pinned(certificate_der: bytes) -> grpc.ChannelCredentials:
    """gRPC credentials that trust this certificate only. Raises InvalidCertificateError."""
    return grpc.ssl_channel_credentials(read_certificate(certificate_der))


def pinned_context(certificate_der: bytes) -> ssl.SSLContext:
    """A TLS context for lanes that trusts this certificate only. Raises InvalidCertificateError."""
    pem = read_certificate(certificate_der).decode()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([LANE_PROTOCOL])
    try:
        context.load_verify_locations(cadata=pem)
    except ssl.SSLError as error:  # OpenSSL is the stricter reader
        raise InvalidCertificateError(f"OpenSSL can't read it: {error}") from error
    return context
