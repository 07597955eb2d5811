"""Network namespaces without a name: only file descriptors keep them, so none is ever left behind.

A thread moves itself into a new namespace, opens a TUN device there and gives it an address, all by system
calls: no `ip`, no child process, no file under /run. The kernel removes everything when the descriptors are
closed, however the process ends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.errors import LabError, LabUnavailableError

DEVICE = b"wan0"
MTU_BYTES = 1500
"""The MTU of Ethernet and of nearly every access line; router_source/packets.hpp has it too. A larger MTU
would make slow links coarse: one packet of 64 KB takes a 20 Mbit/s uplink for 26 ms."""
QUEUE_PACKETS = 10_000
"""The queue of a device between a host and the router. It is longer than the device's default of 500 packets,
which is less than one TCP connection sends at once, so that only the router's own queues ever drop any."""

_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_SIOCADDRT, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x890B, 0x8913, 0x8914
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCSIFMTU, _SIOCSIFTXQLEN = 0x8916, 0x891C, 0x8922, 0x8943
_RTF_UP = 0x1


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """Descriptors of a namespace and of the TUN device inside. The owner closes both."""

    network: int
    tun: int


def open_namespace(address: str, netmask: str) -> Namespace:
    """Make a namespace with a loopback and a device of this address, which carries all traffic but its own.

    Raises LabUnavailableError where the kernel or the user's rights don't allow it.
    """
    if sys.platform != "linux":
        raise LabUnavailableError("the WAN lab needs Linux: it is made of network namespaces and TUN devices")
    results: list[Namespace | OSError] = []

    def make() -> None:
        try:
            results.append(_make_in_this_thread(address, netmask))
        except OSError as error:
            results.append(error)

    thread = threading.Thread(target=make)  # only this thread moves into the namespace, and it ends here
    thread.start()
    thread.join()
    (result,) = results
    if isinstance(result, OSError):
        raise _explained(result) from result
    return result


def _explained(error: OSError) -> LabError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return LabUnavailableError(f"the WAN lab needs root, or CAP_SYS_ADMIN and CAP_NET_ADMIN: {error}")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.ENOSYS):
        return LabUnavailableError(f"the WAN lab needs network namespaces and /dev/net/tun: {error}")
    return LabError(f"can't make a network namespace: {error}")


def _make_in_this_thread(address: str, netmask: str) -> Namespace:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"unshare: {os.strerror(number)}")
    network = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH14x", DEVICE, _IFF_TUN | _IFF_NO_PI))
            _configure(address, netmask)
        except BaseException:
            os.close(tun)
            raise
    except BaseException:
        os.close(network)
        raise
    return Namespace(network=network, tun=tun)


def _configure(address: str, netmask: str) -> None:
    # The router knows IPv4 only. Without IPv6, the device carries nothing until a program sends something.
    no_ipv6 = Path("/proc/sys/net/ipv6/conf", DEVICE.decode(), "disable_ipv6")
    if no_ipv6.exists():
        no_ipv6.write_text("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:

        def ask(request: int, layout: str, *values: bytes | int) -> bytes:
            return fcntl.ioctl(control, request, struct.pack(layout, *values).ljust(40, b"\0"))

        def bring_up(device: bytes) -> None:
            (flags,) = struct.unpack_from("16xH", ask(_SIOCGIFFLAGS, "16s", device))
            ask(_SIOCSIFFLAGS, "16sH", device, flags | _IFF_UP | _IFF_RUNNING)

        ask(_SIOCSIFMTU, "16si", DEVICE, MTU_BYTES)
        ask(_SIOCSIFTXQLEN, "16si", DEVICE, QUEUE_PACKETS)
        ask(_SIOCSIFADDR, "16s16s", DEVICE, _socket_address(address))
        ask(_SIOCSIFNETMASK, "16s16s", DEVICE, _socket_address(netmask))
        bring_up(b"lo")
        bring_up(DEVICE)
        _add_default_route(lambda route: fcntl.ioctl(control, _SIOCADDRT, route))


def _socket_address(address: str) -> bytes:
    """struct sockaddr_in, without a port."""
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


class _Route(ctypes.Structure):
    """struct rtentry of <linux/route.h>."""

    _fields_ = (
        ("rt_pad1", ctypes.c_ulong),
        ("rt_dst", ctypes.c_char * 16),
        ("rt_gateway", ctypes.c_char * 16),
        ("rt_genmask", ctypes.c_char * 16),
        ("rt_flags", ctypes.c_ushort),
        ("rt_pad2", ctypes.c_short),
        ("rt_pad3", ctypes.c_ulong),
        ("rt_pad4", ctypes.c_void_p),
        ("rt_metric", ctypes.c_short),
        ("rt_dev", ctypes.c_char_p),
        ("rt_mtu", ctypes.c_ulong),
        ("rt_window", ctypes.c_ulong),
        ("rt_irtt", ctypes.c_ushort),
    )


def _add_default_route(add: Callable[[_Route], object]) -> None:
    """A program that asks for its address towards the internet gets the lab's, as it would at home."""
    anywhere = _socket_address("0.0.0.0")
    route = _Route(rt_flags=_RTF_UP, rt_dev=DEVICE)
    for field in ("rt_dst", "rt_gateway", "rt_genmask"):
        offset = getattr(_Route, field).offset
        ctypes.memmove(ctypes.addressof(route) + offset, anywhere, len(anywhere))
    add(route)
