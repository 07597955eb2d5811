"""A program on a host of the lab that sends, hears, listens and dials when it is told to.

Run by its path, it reads one JSON list a line, `[verb, ...]`, and answers each with one JSON value.
`Speaker` is its other end, for tests.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

PATIENCE_SECONDS = 5.0
SILENCE_SECONDS = 0.25


class Speaker:
    """One program, with one UDP socket and, once it is told to listen, one TCP port."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def tell(self, *words: Any) -> Any:
        """Have the program do something; returns its answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def send(self, text: str, address: str, port: int) -> None:
        """Send a UDP packet."""
        self.tell("send", text, address, port)

    def hear(self, seconds: float = PATIENCE_SECONDS) -> tuple[str, str, int] | None:
        """The next UDP packet: its text, and from where it came. None if none comes."""
        heard = self.tell("hear", seconds)
        return None if heard is None else (heard[0], heard[1], heard[2])

    def hears_nothing(self) -> bool:
        """Whether no UDP packet has come or comes in a moment."""
        return self.hear(SILENCE_SECONDS) is None

    def dial(self, address: str, port: int, *, own_port: int = 0, seconds: float = SILENCE_SECONDS) -> bool:
        """Whether a TCP connection, which is closed at once, can be made."""
        return self.tell("dial", address, port, own_port, seconds) is True


@contextlib.contextmanager
def speaking(prefix: list[str], port: int, *, listen: bool = False, ipv6: bool = False) -> Iterator[Speaker]:
    """Run the program with a UDP socket on this port, and accept TCP connections there with `listen`."""
    words = [str(port), str(int(listen)), str(int(ipv6))]
    with subprocess.Popen(
        [*prefix, sys.executable, __file__, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield Speaker(process)
        finally:
            process.kill()


def _main(port: int, listen: bool, ipv6: bool) -> None:
    family, anywhere = (socket.AF_INET6, "::") if ipv6 else (socket.AF_INET, "0.0.0.0")
    packets = socket.socket(family, socket.SOCK_DGRAM)
    if ipv6:
        packets.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    packets.bind((anywhere, port))
    if listen:
        door = _tcp(family)
        door.bind((anywhere, port))
        door.listen()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(_obey(packets, family, *json.loads(line))), flush=True)


def _obey(packets: socket.socket, family: int, verb: str, *words: Any) -> Any:
    if verb == "send":
        text, address, port = words
        with contextlib.suppress(OSError):
            packets.sendto(text.encode(), (address, port))
        return True
    if verb == "hear":
        packets.settimeout(words[0])
        while True:
            try:
                text, (address, port, *_) = packets.recvfrom(2048)
            except TimeoutError:
                return None
            except OSError:  # an answer of ICMP to something that was sent
                continue
            return [text.decode(), address, port]
    address, port, own_port, seconds = words
    with _tcp(family) as caller:
        caller.bind(("", own_port))
        caller.settimeout(seconds)
        try:
            caller.connect((address, port))
        except OSError:
            return False
    return True


def _tcp(family: int) -> socket.socket:
    """A socket that shares its port, as libp2p's do: it dials from where it listens."""
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return made


if __name__ == "__main__":
    _main(int(sys.argv[1]), *(word == "1" for word in sys.argv[2:]))
