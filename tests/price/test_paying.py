"""Identities get their proofs: found once, kept beside the key, made anew where what is kept is wrong."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

from p2pinfer.identity import Identity
from p2pinfer.price import paying, proof
from p2pinfer.price.kept import proof_file
from p2pinfer.price.paying import PAYING, PAYING_EACH_TIME, STILL_PAYING, find_proof, pay, pay_now
from p2pinfer.price.proof import MOST_BITS, PROOF_BYTES, is_paid, zero_bits

BITS = 3


@pytest.fixture(autouse=True)
def a_small_price(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PRICE_BITS", BITS)


async def test_an_identity_that_isnt_kept_pays_for_this_process() -> None:
    identity, said = Identity.ephemeral(), list[str]()
    assert identity.proof == b""

    await pay(identity, said.append)

    assert is_paid(identity.public_key, identity.proof)
    assert said == [PAYING_EACH_TIME]


async def test_a_kept_identity_pays_once(tmp_path: Path) -> None:
    first, said = Identity.load_or_create(tmp_path / "key"), list[str]()
    await pay(first, said.append)
    await pay(first, said.append)
    again = Identity.load_or_create(tmp_path / "key")
    await pay(again, said.append)

    assert again.proof == first.proof
    assert said == [PAYING]
    assert sorted(os.listdir(tmp_path)) == ["key", "key.proof"]


async def test_a_search_that_takes_long_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "PRICE_BITS", MOST_BITS)
    said, has_said = list[str](), asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        if line == STILL_PAYING:
            has_said.set()

    paying_long = asyncio.create_task(pay(Identity.ephemeral(), say, patience_seconds=0.0))
    await has_said.wait()
    paying_long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await paying_long

    assert said == [PAYING_EACH_TIME, STILL_PAYING]


def test_who_has_no_event_loop_pays_likewise(tmp_path: Path) -> None:
    first, again, said = *(Identity.load_or_create(tmp_path / "key") for _ in range(2)), list[str]()
    for identity in (first, again):
        pay_now(identity, said.append)

    assert is_paid(first.public_key, first.proof)
    assert again.proof == first.proof
    assert said == [PAYING]


def test_an_interrupted_search_leaves_no_thread_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes to the thread that waits, which searches, too."""
    ours = threading.current_thread()

    def interrupted(key: bytes, nonce: bytes) -> int:
        if threading.current_thread() is ours:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(paying, "zero_bits", interrupted)
    monkeypatch.setattr(paying, "_cores", lambda: 2)

    with pytest.raises(KeyboardInterrupt):
        pay_now(Identity.ephemeral())
    for thread in threading.enumerate():
        if thread.name == paying.THREAD:
            thread.join(60)
            assert not thread.is_alive()


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"0" * 15 + b"\n", b"zz" * 8, b"00" * 9, b"00" * 4_000_000],
    ids=["empty", "not-ascii", "odd", "no-digits", "too-long", "huge"],
)
async def test_a_damaged_proof_is_made_anew(tmp_path: Path, content: bytes) -> None:
    identity, said = Identity.load_or_create(tmp_path / "key"), list[str]()
    proof_file(tmp_path / "key").write_bytes(content)

    await pay(identity, said.append)

    assert is_paid(identity.public_key, identity.proof)
    assert proof_file(tmp_path / "key").read_text() == identity.proof.hex() + "\n"
    assert said == [PAYING]


async def test_a_proof_of_another_key_is_made_anew(tmp_path: Path) -> None:
    """As where a key file was put in the place of another."""
    identity = Identity.load_or_create(tmp_path / "key")
    unworthy = next(
        nonce
        for number in range(100)
        if zero_bits(identity.public_key, nonce := number.to_bytes(PROOF_BYTES, "big")) < BITS
    )
    proof_file(tmp_path / "key").write_text(unworthy.hex() + "\n")

    await pay(identity)

    assert identity.proof != unworthy
    assert is_paid(identity.public_key, identity.proof)


async def test_a_proof_that_cant_be_kept_holds_for_this_process(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    identity = Identity.load_or_create(tmp_path / "key")
    proof_file(tmp_path / "key").mkdir()

    await pay(identity)

    assert is_paid(identity.public_key, identity.proof)
    assert f"{tmp_path / 'key.proof'} can't be written" in caplog.text


async def test_a_cancelled_search_leaves_no_thread_at_work() -> None:
    """It would search for hours. The event loop goes on beside it."""

    async def searching(count: int) -> None:
        deadline = time.monotonic() + 60
        while sum(thread.name == paying.THREAD for thread in threading.enumerate()) != count:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)

    search = asyncio.create_task(find_proof(Identity.ephemeral().public_key, MOST_BITS, threads=3))
    await searching(3)
    search.cancel()
    await asyncio.wait({search})
    await searching(0)

    assert search.cancelled()
