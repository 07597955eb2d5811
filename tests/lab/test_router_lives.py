"""Home routers that reboot, map ports, lack something, or are killed: nothing stays."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from scripts.lab import LabError, LabUnavailableError, RouterKind, WanLab
from scripts.lab.homes.port_mapping import PortMapping
from tests.lab.home import LAN, PORT, UDP_PASSES, add_router, home_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", UDP_PASSES)
def test_a_reboot_loses_mappings_and_brings_another_address(lab: WanLab, kind: RouterKind):
    """Who answers at the old address isn't heard; the next packet is seen at the new one."""
    with home_of(lab, kind) as home:
        home.inside.send("before", home.friend_address, PORT)
        before = home.friend.hear()
        assert before is not None
        home.router.reboot(seconds=0.05)
        if home.router.outer is not None:
            home.router.outer.reboot(seconds=0.05)
        home.friend.send("late", *before[1:])
        home.friend.send("late", home.router.public_address, before[2])
        assert home.inside.hears_nothing()

        home.inside.send("after", home.friend_address, PORT)
        after = home.friend.hear()
        assert after is not None and after[:2] == ("after", home.router.public_address)
        assert after[1] != before[1]
        home.friend.send("welcome back", *after[1:])
        assert home.inside.hear() == ("welcome back", home.friend_address, PORT)


def test_a_reboot_may_keep_the_address(lab: WanLab):
    """Mappings are lost all the same."""
    with home_of(lab, RouterKind.HOME) as home:
        home.inside.send("before", home.friend_address, PORT)
        before = home.friend.hear()
        assert before is not None
        home.router.reboot(new_address=False, seconds=0.05)
        home.friend.send("late", *before[1:])

        assert home.router.public_address == before[1]
        assert home.inside.hears_nothing()


def ask_for_port(prefix: list[str], port: int) -> bytes:
    """Ask the gateway by NAT-PMP (RFC 6886) to map a UDP port to this host; returns the answer."""
    program = (
        "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5);"
        "s.connect(('192.168.1.1', 5351)); s.send(bytes.fromhex(sys.argv[1])); print(s.recv(64).hex())"
    )
    request = struct.pack("!BBHHHI", 0, 1, 0, port, port, 3600)
    said = subprocess.run(
        [*prefix, sys.executable, "-c", program, request.hex()], capture_output=True, text=True, check=True
    )
    return bytes.fromhex(said.stdout)


def test_a_router_maps_a_port_to_the_host_that_asks_for_it(lab: WanLab):
    """Strangers get in there, and after a reboot they don't until the host has asked again."""
    with home_of(lab, RouterKind.PORT_MAPPING) as home:
        for _ in range(2):
            home.stranger.send("no", home.router.public_address, PORT)
            assert home.inside.hears_nothing()
            answer = ask_for_port(home.host.prefix, PORT)
            assert struct.unpack("!BBHIHHI", answer)[2] == 0  # success
            home.stranger.send("yes", home.router.public_address, PORT)
            assert home.inside.hear() == ("yes", home.stranger_address, PORT)
            home.router.reboot(seconds=0.05)


LISTEN = """
import asyncio
from hivemind.p2p import P2P

async def main():
    maddrs = ["/ip4/0.0.0.0/tcp/4001", "/ip4/0.0.0.0/udp/4001/quic-v1"]
    p2p = await P2P.create(host_maddrs=maddrs, nat_port_map=True, dht_mode="server")
    mapped = []
    while len(mapped) < 2:
        await asyncio.sleep(0.1)
        visible = map(str, await p2p.get_visible_maddrs(latest=True))
        mapped = [maddr for maddr in visible if maddr.startswith("/ip4/11.77.")]
    print(*mapped, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
DIAL = """
import asyncio, sys
from hivemind.p2p import P2P

async def main():
    for maddr in sys.argv[1:]:
        p2p = await P2P.create(initial_peers=[maddr])  # raises if it can't connect
        print(*(peer.peer_id for peer in await p2p.list_peers()))
        await p2p.shutdown()

asyncio.run(main())
"""


def test_p2pd_gets_its_ports_mapped_and_is_dialled_there(lab: WanLab):
    """What -natPortMap does: after some five seconds p2pd has public addresses, and strangers reach them."""
    router = add_router(lab, "router", RouterKind.PORT_MAPPING)
    host, stranger = router.add_host("host"), lab.add_host("stranger", LAN)
    with subprocess.Popen(
        [*host.prefix, sys.executable, "-c", LISTEN], stdout=subprocess.PIPE, text=True
    ) as listening:
        assert listening.stdout is not None
        maddrs = listening.stdout.readline().split()
        dial = [*stranger.prefix, sys.executable, "-c", DIAL, *maddrs]
        found = subprocess.run(dial, capture_output=True, text=True)
        listening.kill()

    assert {maddr.split("/")[3] for maddr in maddrs} == {"tcp", "udp"}
    assert found.stdout.split() == [maddr.split("/")[-1] for maddr in maddrs], found.stderr


def test_a_killed_lab_with_routers_leaves_nothing_behind(lab: WanLab):
    """Every process ends, on hosts behind a router and on the router itself, and the namespaces go, too."""
    add_router(lab, "probe", RouterKind.PORT_MAPPING)
    lab.close()
    program = (
        "import os, subprocess, sys, time\n"
        "from scripts.lab import PROFILES, RouterKind, WanLab\n"
        "lab = WanLab()\n"
        "router = lab.add_router('router', PROFILES['lan'], RouterKind.PORT_MAPPING)\n"
        "host = router.add_host('host')\n"
        "child = subprocess.Popen([*host.prefix, 'sleep', '600'])\n"
        "service = router._mapping._process.pid\n"
        "def network(pid): return os.readlink(f'/proc/{pid}/ns/net')\n"
        "while network(child.pid) == network('self'): time.sleep(0.01)\n"
        "print(lab.router_pid, child.pid, service, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        processes = [psutil.Process(int(pid)) for pid in holder.stdout.readline().split()]
        networks = {os.readlink(f"/proc/{process.pid}/ns/net") for process in processes[1:]}
        assert len(networks) == 2
        holder.kill()

    _, alive = psutil.wait_procs(processes, 15)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert networks.isdisjoint(networks_in_use())


def networks_in_use() -> set[str]:
    """The network namespaces that a process is in, or has open."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        for link in (process / "ns/net", *_listed(process / "fd")):
            with suppress(OSError):
                found.add(os.readlink(link))
    return found


def _listed(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def test_what_no_router_can_be_is_refused_in_words(lab: WanLab):
    """The lab goes on."""
    router = add_router(lab, "router", RouterKind.HOME)

    with pytest.raises(LabError, match="there is a host router already"):
        router.add_host("router")
    with pytest.raises(LabError, match="use add_host or add_home"):
        lab.add_router("none", LAN, RouterKind.NONE)
    with pytest.raises(LabError, match="has no IPv6"):
        lab.add_router("inner", LAN, behind=router, ipv6=True)
    with pytest.raises(LabError, match="two routers in a row are the most"):
        lab.add_router("inner", LAN, RouterKind.CARRIER, behind=router)
    with pytest.raises(LabError, match="there is no host 'nobody'"):
        lab.router_of("nobody")
    assert lab.add_home("open", LAN, RouterKind.NONE).address == "11.77.0.3"
    assert lab.router_of("open") is None


@pytest.mark.parametrize(
    ("missing", "package"), [("ip", "iproute2"), ("nft", "nftables"), ("miniupnpd", "miniupnpd")]
)
def test_a_missing_command_is_named_with_its_package(
    lab: WanLab, monkeypatch: pytest.MonkeyPatch, missing: str, package: str
):
    """Tests skip with these words."""
    find = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, path=None: None if name == missing else find(name, path=path) or name
    )

    with pytest.raises(LabUnavailableError, match=rf"needs {missing}: .*apt-get install {package}"):
        lab.add_router("router", LAN, RouterKind.PORT_MAPPING)
    assert lab.routers == {}


def test_a_port_mapper_that_ends_says_why(lab: WanLab, monkeypatch: pytest.MonkeyPatch):
    """Its last words are in the error."""
    router = add_router(lab, "router", RouterKind.PORT_MAPPING)
    monkeypatch.setattr("scripts.lab.homes.port_mapping._CONFIGURATION", "listening_ip=nowhere\n")
    router.close()

    with pytest.raises(LabError, match=r"miniupnpd doesn't answer; it said: .*\S"):
        PortMapping(router._site)
