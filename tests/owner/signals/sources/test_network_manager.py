"""NetworkManager, on a real bus."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
from dbus_fast import Variant

from p2pinfer.backoff import Backoff
from p2pinfer.owner.signals.persistence import Pauses
from p2pinfer.owner.signals.readings import Signal
from p2pinfer.owner.signals.sources.network_manager import NetworkListener
from tests.owner.signals.buses import Daemon, Service, needs_dbus_daemon
from tests.owner.signals.watching import Watch, eventually, running

pytestmark = needs_dbus_daemon

NAME, PATH = "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"
WIFI, CABLE, POINT = f"{PATH}/ActiveConnection/1", f"{PATH}/ActiveConnection/2", f"{PATH}/AccessPoint/7"
QUICK = Pauses(backoff=Backoff(first_seconds=0.02, most_seconds=0.05))


def manager(*, metered: int = 4, primary: str = WIFI, ssid: bytes = b"Home") -> Service:
    """NetworkManager with a Wi-Fi and a cable."""
    connection, unmanaged = f"{NAME}.Connection.Active", Variant("o", "/")
    return Service(
        NAME,
        {
            (PATH, NAME): {
                "Metered": Variant("u", metered),
                "PrimaryConnection": Variant("o", primary),
                "ActiveConnections": Variant("ao", [path for path in (CABLE, WIFI) if primary != "/"]),
            },
            (WIFI, connection): {
                "Type": Variant("s", "802-11-wireless"),
                "State": Variant("u", 2),
                "SpecificObject": Variant("o", POINT),
            },
            (CABLE, connection): {
                "Type": Variant("s", "802-3-ethernet"),
                "State": Variant("u", 2),
                "SpecificObject": unmanaged,
            },
            (POINT, f"{NAME}.AccessPoint"): {"Ssid": Variant("ay", ssid), "Strength": Variant("y", 70)},
        },
    )


@contextlib.asynccontextmanager
async def listening_to(daemon: Daemon, watch: Watch) -> AsyncIterator[None]:
    listener = NetworkListener(
        {Signal.UNMETERED, Signal.WIFI},
        watch.known,
        bus_address=daemon.address,
        every_seconds=0.1,
        pauses=QUICK,
    )
    async with running(listener.run()):
        yield


@pytest.fixture
async def daemon(tmp_path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path).running() as daemon:
        yield daemon


@pytest.mark.parametrize(
    ("metered", "unmetered"), [(1, False), (2, True), (3, False), (4, True), (0, None), (9, None)]
)
async def test_what_networkmanager_says_of_the_cost(daemon, metered, unmetered):
    watch = Watch()
    async with manager(metered=metered).on(daemon.address), listening_to(daemon, watch):
        await watch.until_known(Signal.WIFI, "Home")
        assert watch.value(Signal.UNMETERED) is unmetered
        expected = (
            {}
            if unmetered is not None
            else {"NetworkManager": "it doesn't know whether the network is metered"}
        )
        assert watch.known.troubles() == expected


@pytest.mark.parametrize(
    ("primary", "ssid", "wifi"),
    [
        (WIFI, b"Home", "Home"),
        (CABLE, b"Home", "Home"),
        (WIFI, "Überall".encode(), "Überall"),
        (WIFI, b"\xff\x1b[2J", "\ufffd?[2J"),
        ("/", b"Home", ""),
    ],
)
async def test_which_wifi_it_is(daemon, primary, ssid, wifi):
    watch = Watch()
    async with manager(primary=primary, ssid=ssid).on(daemon.address), listening_to(daemon, watch):
        await watch.until(lambda: Signal.WIFI in watch.known.readings())
        assert watch.value(Signal.WIFI) == wifi


async def test_a_wifi_that_leaves_is_told_at_once(daemon):
    """Without waiting for the next question: it announces that."""
    watch = Watch()
    listener = NetworkListener(
        {Signal.UNMETERED, Signal.WIFI}, watch.known, bus_address=daemon.address, every_seconds=60.0
    )
    async with manager().on(daemon.address) as service, running(listener.run()):
        await watch.until_known(Signal.WIFI, "Home")
        gone = {"PrimaryConnection": Variant("o", "/"), "ActiveConnections": Variant("ao", [])}
        await service.change(PATH, NAME, **gone, Metered=Variant("u", 0))
        await watch.until_known(Signal.WIFI, "")
        assert watch.value(Signal.UNMETERED) is None


async def test_networkmanager_that_ends_and_starts_again_is_noticed(daemon):
    clock = [1000.0]
    watch = Watch(now=lambda: clock[0])
    async with listening_to(daemon, watch):
        await watch.until(
            lambda: watch.known.troubles() == {"NetworkManager": "NetworkManager doesn't run here"}
        )
        async with manager().on(daemon.address):
            await watch.until_known(Signal.WIFI, "Home")
            assert watch.known.troubles() == {}
            clock[0] += 100.0
            await eventually(lambda: watch.known.readings()[Signal.WIFI].at == 1100.0)
        await watch.until(lambda: "NetworkManager" in watch.known.troubles())
        clock[0] += 100.0
        assert watch.known.readings()[Signal.WIFI].at == 1100.0  # it ages
        async with manager(ssid=b"Work").on(daemon.address):
            await watch.until_known(Signal.WIFI, "Work")


async def test_a_bus_that_ends_and_starts_again_is_found_again(daemon):
    watch = Watch()
    async with listening_to(daemon, watch):
        async with manager().on(daemon.address):
            await watch.until_known(Signal.WIFI, "Home")
            await daemon.kill()
        await watch.until_trouble("NetworkManager", "no D-Bus that p2pinfer can reach")
        await daemon.start()
        async with manager(ssid=b"Work").on(daemon.address):
            await watch.until_known(Signal.WIFI, "Work")


async def test_without_a_bus_there_is_no_reading(tmp_path):
    watch = Watch()
    async with listening_to(Daemon(tmp_path), watch):
        await watch.until_trouble("NetworkManager", "no D-Bus that p2pinfer can reach")
    assert watch.known.readings() == {}


async def test_leaving_takes_no_time_though_nobody_answers(daemon):
    service = manager()
    service.silent = True
    async with service.on(daemon.address), listening_to(daemon, Watch()):
        await eventually(lambda: service.asked > 0)
