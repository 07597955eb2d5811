"""The certificate that a server makes for itself, and that its signed swarm record names."""

from __future__ import annotations

import datetime
import ssl
import tempfile
from dataclasses import dataclass

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from p2pinfer.errors import InvalidCertificateError
from p2pinfer.outside.certificate import SUBJECT, SUBJECT_NAMES, read_certificate

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
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(SUBJECT)
        .issuer_name(SUBJECT)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=lifetime_days))
        .add_extension(SUBJECT_NAMES, critical=False)
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
