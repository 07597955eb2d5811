"""ClientHellos as real clients make them, for the tests of those who read them."""

from __future__ import annotations

import ssl


def client_hello(*protocols: str, server_name: str | None = "p2pinfer") -> bytes:
    """What OpenSSL sends first."""
    context = ssl.create_default_context()
    context.check_hostname = server_name is not None
    if protocols:
        context.set_alpn_protocols(list(protocols))
    written = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), written, server_hostname=server_name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return written.read()
    raise AssertionError("a handshake without an answer")


def in_records(hello: bytes, *lengths: int) -> bytes:
    """The same message in several records: the first ones of these lengths, then the rest."""
    message, found = hello[5:], b""
    for length in (*lengths, len(message)):
        part, message = message[:length], message[length:]
        if part:
            found += hello[:3] + len(part).to_bytes(2) + part
    return found
