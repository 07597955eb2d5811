"""Bundles: what is written is read, and nothing else breaks the reader or is paid."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.statement import bundle
from p2pinfer.owner.statement.bundle import HEADER, read_bundle
from p2pinfer.owner.statement.redemption import ClaimVerdict, examine
from p2pinfer.wire.receipts import Work
from tests.owner.signing import NOW, chain, receipt
from tests.owner.statement.bundles import MINE, bundle_of


def test_a_bundle_is_read_as_it_was_written():
    """Empty lines, other keys and foreign line ends don't matter."""
    receipts = chain(Work(1, 0), Work(2, 0))
    data = bundle_of(receipts)
    loose = data.replace(b"\n", b"\r\n\r\n").replace(b'{"receipt"', b'{"note": [1], "receipt"').rstrip()

    assert [one.signed for one in read_bundle(io.BytesIO(data), "b")] == receipts
    assert [one.signed for one in read_bundle(io.BytesIO(loose), "b")] == receipts
    assert [one.number for one in read_bundle(io.BytesIO(loose), "b")] == [3, 5]


@pytest.mark.parametrize(
    "wrong",
    [
        b"receipt",
        b"[]",
        b"{}",
        b"null",
        b'{"receipt": 1, "client_signature": "", "server_signature": ""}',
        b'{"receipt": "a", "client_signature": "", "server_signature": ""}',
        b'{"receipt": "\xc3\xa4AAA", "client_signature": "", "server_signature": ""}',
        b'{"receipt": "AA!!AA==", "client_signature": "", "server_signature": ""}',
        b"\xff\xfe",
        b"[" * 15_000,
        b'{"a":' * 3_000,
        b"1" * 16_000,
        b"x" * 16_385,
        b"x" * 100_000,
        b"\x00\x1b[2J",
    ],
)
def test_a_wrong_line_is_skipped_and_named(wrong: bytes):
    """The next one is read."""
    [good] = chain(Work(1, 0))
    data = bundle_of([good]).replace(b"\n", b"\n" + wrong + b"\n", 1)

    first, second = read_bundle(io.BytesIO(data), "b")

    assert (first.number, first.signed) == (2, None) and first.problem.isprintable() and first.problem
    assert (second.number, second.signed) == (3, good)


@settings(max_examples=100)
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_can_break_the_reader(data: bytes, has_header: bool):
    """Whatever stands there, it says so or skips it."""
    file = io.BytesIO(HEADER.encode() + b"\n" + data if has_header else data)
    try:
        claims = [examine(one, clients=MINE, rates=(), now=NOW) for one in read_bundle(file, "b")]
    except UsageError:
        assert not has_header
        return
    assert {claim.verdict for claim in claims} <= {ClaimVerdict.MALFORMED, ClaimVerdict.ALTERED}


@settings(max_examples=60)
@given(st.data())
def test_no_altered_bundle_is_paid(data: st.DataObject):
    """One byte of a line is changed. At best the line still means the same."""
    text = bytearray(bundle_of(chain(Work(3, 3))))
    position = data.draw(st.integers(len(HEADER) + 1, len(text) - 2))
    text[position] = data.draw(st.integers(0, 255))

    for one in read_bundle(io.BytesIO(bytes(text)), "b"):
        claim = examine(one, clients=MINE, rates=(), now=NOW)
        assert claim.verdict is not ClaimVerdict.VALID or claim.receipt == receipt(3, 3)


class Endless(io.RawIOBase):
    """A line without an end."""

    def __init__(self) -> None:
        self.given_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        header = f"{HEADER}\n".encode() if not self.given_bytes else b""
        buffer[:] = header + b"x" * (len(buffer) - len(header))
        self.given_bytes += len(buffer)
        return len(buffer)


def test_reading_has_an_end(monkeypatch: pytest.MonkeyPatch):
    """An endless line, or too many lines, end in an error."""
    monkeypatch.setattr(bundle, "MAX_BYTES", 2**20)
    monkeypatch.setattr(bundle, "MAX_LINES", 3)
    endless = Endless()
    with pytest.raises(UsageError, match="b has more than 1 MiB"):
        list(read_bundle(io.BufferedReader(endless), "b"))
    assert endless.given_bytes < 2**21

    three = bundle_of(chain(Work(1, 0), Work(2, 0), Work(3, 0)))
    assert len(list(read_bundle(io.BytesIO(three), "b"))) == 3
    with pytest.raises(UsageError, match="b has more than 3 lines"):
        list(read_bundle(io.BytesIO(three + b"\n"), "b"))


def test_a_file_that_can_be_opened_but_not_read_is_named():
    with open("/proc/self/mem", "rb") as unreadable, pytest.raises(UsageError, match="mem can't be read"):
        list(read_bundle(unreadable, "mem"))


def test_bytes_are_written_in_base64(tmp_path: Path):
    """So that anybody can read a bundle with any language."""
    [one] = chain(Work(1, 0))
    header, text = bundle_of([one]).decode().splitlines()

    assert header == "p2pinfer receipts 1"
    values = {name: base64.b64decode(value) for name, value in json.loads(text).items()}
    assert values == {
        "receipt": one.receipt,
        "client_signature": one.client_signature,
        "server_signature": one.server_signature,
    }
