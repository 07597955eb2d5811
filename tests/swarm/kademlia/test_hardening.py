"""What hivemind unpacks is bounded."""

from __future__ import annotations

import subprocess
import sys

import msgpack
import pytest
from hivemind.utils.serializer import MSGPackSerializer

from p2pinfer.swarm.kademlia.hardening import bounded_loads
from tests.swarm.kademlia.bomb import nested_bomb


def test_the_bomb_is_one() -> None:
    """hivemind's own unpacking crashes on it; otherwise the other tests would show nothing."""
    program = (
        "import resource, sys, p2pinfer.swarm  # hivemind without torch, but not yet repaired\n"
        "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "from hivemind.utils.serializer import MSGPackSerializer\n"
        "MSGPackSerializer.loads(sys.stdin.buffer.read())\n"
    )
    outcome = subprocess.run([sys.executable, "-c", program], input=nested_bomb(), capture_output=True)

    assert outcome.returncode < 0


def test_msgpack_is_bounded_and_still_reads_what_is_fine() -> None:
    for value in (1, "a", [1, [2, [3]]], {"a": b"b"}, (1, ("a", (2,)))):
        assert MSGPackSerializer.loads(MSGPackSerializer.dumps(value)) == value
    for data in (
        nested_bomb(),
        nested_bomb(6),
        b"",
        b"\xc1",
        bytes(2 << 20),
        msgpack.packb(msgpack.ExtType(9, b"")),
    ):
        with pytest.raises(ValueError, match="msgpack"):
            bounded_loads(data)
