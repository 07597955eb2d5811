"""The router's process, and its requests, one line each; router_source/requests.hpp describes them."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

from scripts.lab.errors import LabError
from scripts.lab.ground.namespaces import Namespace
from scripts.lab.links import Direction, Link

ANSWER_BYTES = 1 << 20
ANSWER_SECONDS = 10.0
END_SECONDS = 10.0  # the router kills what is left in the namespaces, and waits until it is gone


class Router:
    """A running router. It ends by `close`, or by itself when this process is gone. Threads may share it."""

    def __init__(self, program: Path, *, seed: int) -> None:
        self._lock = threading.Lock()
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_SECONDS)
        try:
            self._process = subprocess.Popen(
                [str(program), "run", str(theirs.fileno()), str(seed)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the lab, which then ends the router
            )
        except BaseException:
            self._control.close()
            raise
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while the router runs."""
        return self._process.poll()

    def add_host(self, index: int, link: Link, namespace: Namespace) -> None:
        """Give the router a host's device; the caller may close its own descriptor of the device."""
        self._ask(f"host {index} {link.in_router_words()}", [namespace.tun, namespace.network])

    def add_network(self, network: int) -> None:
        """Have the router kill what runs in this namespace, too, when it ends."""
        self._ask("network", [network])

    def give_number(self, index: int, number: int) -> None:
        """From now on, the host's IPv4 address ends with this number."""
        self._ask(f"number {index} {number}")

    def shape(self, index: int, link: Link) -> None:
        """Give a host's link other properties. Packets under way keep the times that they had."""
        self._ask(f"shape {index} {link.in_router_words()}")

    def cut(self, index: int, direction: Direction) -> None:
        """From now on let nothing pass, not even packets under way."""
        self._ask(f"cut {index} {direction.value}")

    def heal(self, index: int, direction: Direction) -> None:
        """Let packets pass again."""
        self._ask(f"heal {index} {direction.value}")

    def counters(self) -> list[str]:
        """One line per host and direction; counters.py reads the lines."""
        return self._ask("counters")

    def close(self) -> bool:
        """Have the router kill all processes in the namespaces, and end. False if it was gone, or stays."""
        was_running = self._process.poll() is None
        self._control.close()
        try:
            return self._process.wait(END_SECONDS) == 0 and was_running
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False

    def _ask(self, request: str, descriptors: Sequence[int] = ()) -> list[str]:
        with self._lock:
            try:
                socket.send_fds(self._control, [request.encode()], descriptors)
                answer = self._control.recv(ANSWER_BYTES).decode()
            except TimeoutError as error:
                raise LabError(f"the lab's router (process {self.pid}) doesn't answer") from error
            except OSError as error:
                raise LabError(self._why_gone()) from error
        if not answer:
            raise LabError(self._why_gone())
        status, *lines = answer.split("\n")
        if status != "ok":
            raise LabError(f"the lab's router refused {request!r}: {status}")
        return lines

    def _why_gone(self) -> str:
        if self._control.fileno() < 0:
            return "the lab is closed"
        try:
            status = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "the lab's router closed its control socket"
        return f"the lab's router ended with status {status}: all its hosts are off the network"


def sweep(program: Path, networks: Sequence[int]) -> None:
    """Kill every process inside these namespaces of this process; used when the router has ended."""
    files = [f"/proc/{os.getpid()}/fd/{network}" for network in networks]
    subprocess.run([str(program), "sweep", *files], check=True, timeout=END_SECONDS)
