"""A ClientHello says which protocols it asks for; whatever else comes is told from it early, by one error."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import ProtocolError
from p2pinfer.wire.reach.client_hello import MAX_CLIENT_HELLO_BYTES, ClientHello, read_client_hello
from tests.spoiled import spoiled
from tests.wire.reach.hellos import client_hello, in_records

LANE = client_hello("p2pinfer-lane/5")
GRPC = client_hello("grpc-exp", "h2")


def read(data: bytes) -> ClientHello | None:
    """What is found, or None; the error is the only one that may come."""
    try:
        return read_client_hello(data)
    except ProtocolError:
        return None


def test_name_and_protocols_are_found_whatever_follows_them():
    assert read_client_hello(LANE) == ClientHello(b"p2pinfer", (b"p2pinfer-lane/5",))
    assert read_client_hello(GRPC + os.urandom(100)) == ClientHello(b"p2pinfer", (b"grpc-exp", b"h2"))
    assert read_client_hello(client_hello(server_name=None)) == ClientHello(None, ())


def test_a_hello_without_extensions_asks_for_nothing():
    body = bytes((3, 3)) + bytes(32) + bytes(1) + bytes((0, 2, 0x13, 1)) + bytes((1, 0))
    message = b"\x01" + len(body).to_bytes(3) + body
    assert read_client_hello(b"\x16\x03\x01" + len(message).to_bytes(2) + message) == ClientHello(None, ())


@pytest.mark.parametrize("lengths", [(1,), (3, 1), (4,), (100, 100), (1,) * 15])
def test_a_hello_may_come_in_several_records(lengths):
    assert read_client_hello(in_records(LANE, *lengths)) == read_client_hello(LANE)


def test_every_beginning_of_a_hello_waits_for_the_rest():
    """None is refused, and none is taken for the whole: also where it is cut within records."""
    for hello in (LANE, GRPC, in_records(LANE, 2, 50)):
        assert all(read_client_hello(hello[:length]) is None for length in range(len(hello)))


def test_every_changed_byte_gives_a_hello_or_the_one_error():
    for place in range(len(LANE)):
        for changed in {0, 1, 0x7F, 0xFF, LANE[place] ^ 1, LANE[place] ^ 0x80}:
            read(LANE[:place] + bytes([changed]) + LANE[place + 1 :])


def test_every_byte_left_out_or_put_in_gives_a_hello_or_the_one_error():
    for place in range(len(LANE)):
        read(LANE[:place] + LANE[place + 1 :])
        read(LANE[:place] + b"\xff" + LANE[place:])


@given(spoiled(LANE, GRPC, in_records(GRPC, 7, 7)))
def test_any_bytes_are_a_hello_or_wait_or_the_one_error(data: bytes):
    read(data)


@given(st.binary(min_size=1, max_size=64))
def test_what_is_no_tls_is_known_at_its_first_bytes(data: bytes):
    """Nobody waits for the rest of a line of text."""
    if data[0] != 0x16:
        with pytest.raises(ProtocolError, match="ClientHello"):
            read_client_hello(data)


@pytest.mark.parametrize(
    "data",
    [
        b"p2pinfer lane 4\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x02",  # another major version
        b"\x16\x03\x01\x00\x00",  # an empty record: many of them would never end
        b"\x16\x03\x01\x40\x01",  # a record longer than TLS has
        b"\x16\x03\x01\x00\x04\x02",  # a ServerHello
        b"\x16\x03\x01\x00\x04\x01\x00\x40\x00",  # a hello of 16 KB and its headers
        b"\x17\x03\x03\x00\x01\x00",  # data
    ],
)
def test_what_can_never_be_a_hello_is_refused_before_all_of_it_has_come(data):
    with pytest.raises(ProtocolError):
        read_client_hello(data)


def test_a_hello_in_many_tiny_records_is_refused():
    """Each would be read again and again while the next ones come."""
    with pytest.raises(ProtocolError, match="records"):
        read_client_hello(in_records(LANE, *[1] * 16))


def test_no_hello_is_longer_than_the_bound():
    data = b"\x16\x03\x01\x20\x00\x01\x00\x3f\xfc" + bytes(0x2000 - 4)
    data += b"\x16\x03\x01\x20\x00" + bytes(0x2000)
    assert read_client_hello(data[: MAX_CLIENT_HELLO_BYTES - 1]) is None
    with pytest.raises(ProtocolError, match="more than"):
        read_client_hello(data[:MAX_CLIENT_HELLO_BYTES])


def test_an_extension_that_comes_twice_is_refused():
    """Two readers might believe different ones."""
    alpn = bytes((0, 16, 0, 5, 0, 3, 2)) + b"h2"
    body = bytes((3, 3)) + bytes(32) + bytes(1) + bytes((0, 2, 0x13, 1)) + bytes((1, 0))
    for count in (1, 2):
        extensions = alpn * count
        whole = body + len(extensions).to_bytes(2) + extensions
        message = b"\x01" + len(whole).to_bytes(3) + whole
        hello = read(b"\x16\x03\x01" + len(message).to_bytes(2) + message)
        assert hello == (ClientHello(None, (b"h2",)) if count == 1 else None)
