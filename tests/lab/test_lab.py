"""The lab itself, with its router and real namespaces: what passes, what doesn't, and that nothing stays."""

from __future__ import annotations

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from scripts.lab import PROFILES, Direction, LabError, LabHost, LabUnavailableError, Link, RouterKind, WanLab
from scripts.lab.check import run_probe, serving
from scripts.lab.router_build import COMPILE_FLAGS, router_program

ROOT = Path(__file__).parents[2]
LAN = PROFILES["lan"]
FAST = Link(delay_seconds=0.02, up_bits_per_second=1e9, down_bits_per_second=1e9)
ANSWER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 9))
print("ready", flush=True)
while True:
    s.sendto(*s.recvfrom(2048))
"""
ASK = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 9))
s.settimeout(0.2)
for line in sys.stdin:
    s.send(line.encode())
    try:
        print(s.recv(2048) == line.encode(), flush=True)
    except TimeoutError:
        print(False, flush=True)
"""


@contextmanager
def asking(asker: LabHost, answerer: LabHost) -> Iterator[Callable[[], bool]]:
    """A program that sends a packet for each line, and prints whether an answer came back."""
    answer = [*answerer.prefix, sys.executable, "-c", ANSWER, answerer.address]
    ask = [*asker.prefix, sys.executable, "-c", ASK, answerer.address]
    with (
        subprocess.Popen(answer, stdout=subprocess.PIPE, text=True) as there,
        subprocess.Popen(ask, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as here,
    ):
        assert there.stdout is not None and here.stdin is not None and here.stdout is not None
        there.stdout.readline()
        number = 0

        def came_back() -> bool:
            nonlocal number
            number += 1
            here.stdin.write(f"{number}\n")
            here.stdin.flush()
            return here.stdout.readline().strip() == "True"

        try:
            yield came_back
        finally:
            there.kill()
            here.kill()


def ended(pid: int) -> bool:
    """True once the process is gone, or only waits to be reaped."""
    with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        psutil.Process(pid).wait(15)
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_round_trip_takes_twice_the_delay(lab: WanLab):
    """The delay is never less; it is more only by this machine's own delays."""
    a, b = lab.add_host("a", PROFILES["home-cable"]), lab.add_host("b", PROFILES["home-cable"])
    with serving(b):
        found = run_probe(a, "ping", b, 20, 0.0)

    assert found["answered"] == 20
    assert 0.0399 <= found["least_seconds"] <= 0.08


@pytest.mark.parametrize("direction", ["up", "down"])
def test_nothing_is_faster_than_the_link(lab: WanLab, direction: str):
    """The measured host's rate limits in both directions."""
    slow = dataclasses.replace(FAST, **{f"{direction}_bits_per_second": 10e6})
    a, b = lab.add_host("a", slow), lab.add_host("b", FAST)
    sender, receiver = (a, b) if direction == "up" else (b, a)
    with serving(receiver):
        found = run_probe(sender, "stream", receiver, 2.0, 1.0)

    assert 0 < found["bits_per_second"] <= 11e6


def test_losses_are_the_same_with_the_same_seed_and_others_with_another():
    """The seed decides whether the n-th packet of a direction is lost, whenever it comes."""

    def losses(seed: int) -> list[bool]:
        try:
            lab = WanLab(seed=seed)
        except LabUnavailableError as error:
            pytest.skip(str(error))
        with lab:
            a = lab.add_host("a", dataclasses.replace(LAN, loss=0.3))
            b = lab.add_host("b", LAN)
            with asking(a, b) as came_back:
                return [came_back() for _ in range(20)]

    first = losses(1)
    assert set(first) == {True, False}
    assert losses(1) == first
    assert losses(2) != first


def test_a_cut_stops_everything_until_it_is_healed(lab: WanLab):
    """The cut also counts the packets that it stopped."""
    a, b = lab.add_host("a", LAN), lab.add_host("b", LAN)
    with asking(a, b) as came_back:
        assert came_back()
        lab.cut("b")
        assert not came_back()
        assert lab.counters()["b"].down.cut == 1
        lab.heal("b")
        assert came_back()


@pytest.mark.parametrize("direction", [Direction.UP, Direction.DOWN])
def test_a_cut_of_one_direction_leaves_the_other(lab: WanLab, direction: Direction):
    """With one direction cut, only the question or only the answer is lost."""
    a, b = lab.add_host("a", LAN), lab.add_host("b", LAN)
    with asking(a, b) as came_back:
        lab.cut("a", direction)
        assert not came_back()

    counted = lab.counters()
    assert counted["b"].down.packets == (0 if direction is Direction.UP else 1)
    assert (counted["a"].up.cut, counted["a"].down.cut) == ((1, 0) if direction is Direction.UP else (0, 1))


def test_a_link_changes_while_the_lab_runs(lab: WanLab):
    """From lan to 200 ms each way: the answer is later than the asker waits."""
    a, b = lab.add_host("a", LAN), lab.add_host("b", LAN)
    with asking(a, b) as came_back:
        assert came_back()
        lab.shape("b", dataclasses.replace(FAST, delay_seconds=0.4))
        assert not came_back()


def test_the_prefix_becomes_the_command(lab: WanLab):
    """Same process, streams and descriptors, with a loopback and an address of its own."""
    host = lab.add_host("a", LAN)
    mine, theirs = socket.socketpair()
    program = "import os, sys; os.write(int(sys.argv[1]), f'{os.getpid()} {sys.stdin.read()}'.encode())"
    with mine, theirs, subprocess.Popen(
        [*host.prefix, sys.executable, "-c", program, str(theirs.fileno())],
        stdin=subprocess.PIPE,
        pass_fds=[theirs.fileno()],
    ) as process:  # fmt: skip
        process.communicate(b"hello")
        assert mine.recv(100).decode() == f"{process.pid} hello"


def test_a_program_sees_its_own_address_and_no_other_network(lab: WanLab):
    """A program that asks which address leads to the internet gets the lab's address, too."""
    host = lab.add_host("a", LAN)
    program = (
        "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9));"
        "print(s.getsockname()[0], *(name for _, name in socket.if_nameindex()));"
        "socket.create_server(('127.0.0.1', 0))"
    )
    said = subprocess.run([*host.prefix, sys.executable, "-c", program], capture_output=True, text=True)

    assert said.stdout.split()[:2] == [host.address, "lo"]
    assert "wan0" in said.stdout and "eth0" not in said.stdout
    assert said.returncode == 0


def test_leaving_the_lab_kills_what_runs_there(lab: WanLab):
    """Processes that were started a moment ago end, too, and their children."""
    host = lab.add_host("a", LAN)
    shell = subprocess.Popen(
        [*host.prefix, "sh", "-c", "sleep 600 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    )
    assert shell.stdout is not None
    grandchild = int(shell.stdout.readline())
    newest = subprocess.Popen([*host.prefix, "sleep", "600"])
    router = lab.router_pid
    lab.close()

    assert shell.wait(10) == newest.wait(10) == -signal.SIGKILL
    assert ended(grandchild) and ended(router)
    shell.stdout.close()


def test_a_killed_lab_leaves_nothing_behind(lab: WanLab):
    """The router sees that the process that made it is gone, and ends with all processes of the hosts."""
    program = (
        "import subprocess, time\n"
        "from scripts.lab import PROFILES, WanLab\n"
        "lab = WanLab()\n"
        "host = lab.add_host('a', PROFILES['lan'])\n"
        "child = subprocess.Popen([*host.prefix, 'sleep', '600'])\n"
        "print(lab.router_pid, child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        router, child = map(int, holder.stdout.readline().split())
        holder.kill()

    assert ended(router) and ended(child)


def test_a_dead_router_is_noticed_and_its_hosts_are_swept(lab: WanLab):
    """A lab whose router has ended raises an error, so that no test measures a dead network."""
    host = lab.add_host("a", LAN)
    child = subprocess.Popen([*host.prefix, "sleep", "600"])
    lab.check()
    os.kill(lab.router_pid, signal.SIGKILL)
    os.waitid(os.P_PID, lab.router_pid, os.WEXITED | os.WNOWAIT)

    with pytest.raises(LabError, match="router ended with status -9"):
        lab.check()
    with pytest.raises(LabError, match="router ended with status -9"):
        lab.counters()
    lab.close()
    assert child.wait(10) == -signal.SIGKILL


def test_names_that_are_taken_unknown_or_odd_are_refused(lab: WanLab):
    """The error is printed in words; the lab goes on."""
    lab.add_host("a", LAN)

    with pytest.raises(LabError, match="there is a host a already"):
        lab.add_host("a", LAN)
    with pytest.raises(LabError, match="no name for a host"):
        lab.add_host("a b", LAN)
    with pytest.raises(LabError, match="no host 'b'; there are: a"):
        lab.cut("b")
    assert set(lab.counters()) == {"a"}


def test_the_command_runs_hosts_and_takes_orders(lab: WanLab):
    """Output has host names before it, and the exit status says how the commands ended."""
    lab.close()  # this run only finds out whether a lab can run here
    command = [sys.executable, "scripts/wan_lab", "run", "--host", "a=echo hello $LAB_ADDRESS_B from {a}"]
    command += ["--host", "b:satellite=exec sleep 600"]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        said = []
        while "[a] ended with status 0" not in said:
            said.append(process.stdout.readline().rstrip())
        started = time.monotonic()
        output, _ = process.communicate("cut b\nbogus\nquit\n", timeout=60)

    assert time.monotonic() - started < 8  # `sleep` was asked to end, not waited for
    assert "[a] hello 11.77.0.3 from 11.77.0.2" in said
    assert "[lab] cut b" in output and "[lab] 'bogus' is none of these" in output
    assert process.returncode == 0


def test_the_command_puts_hosts_behind_routers_and_reboots_them(lab: WanLab):
    """Orders name the host; its router obeys."""
    try:
        lab.add_home("probe", LAN, RouterKind.HOME)
    except LabUnavailableError as error:
        pytest.skip(str(error))
    lab.close()
    command = [
        sys.executable,
        "scripts/wan_lab",
        "run",
        "--host",
        "a@home=exec sleep 600",
        "--host",
        "b=true",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        output, _ = process.communicate("reboot a\nreboot b\ncut a\ncounters\nquit\n", timeout=60)

    assert "[a] 192.168.1.10 behind 11.77.0.2 (home), 0.1 ms" in output
    assert "[lab] a is now behind 11.77.0.4" in output
    assert "[lab] b is behind no router" in output
    assert "[lab] cut a\n" in output and "[lab] a-router     up" in output
    assert process.returncode == 0


def test_without_a_compiler_the_lab_is_unavailable(tmp_path: Path):
    """The error says how to name a compiler."""
    with pytest.raises(LabUnavailableError, match=r"no-such-compiler was not found \(name one with CXX"):
        router_program(compiler="no-such-compiler", cache_folder=tmp_path)


def test_the_router_compiles_without_a_warning(tmp_path: Path):
    """Warnings are errors, here as for every user."""
    assert {"-Wall", "-Wextra", "-Werror"} <= set(COMPILE_FLAGS)
    try:
        program = router_program(cache_folder=tmp_path)
    except LabUnavailableError as error:
        pytest.skip(str(error))

    assert subprocess.run([program], capture_output=True, check=False).returncode == 2
