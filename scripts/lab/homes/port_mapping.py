"""A router's port mapping service: miniupnpd, which speaks UPnP and NAT-PMP, inside the router's namespace.

It leaves nothing behind: its configuration is a file without a name, and it has no process id file.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from contextlib import suppress

from scripts.lab.errors import LabError
from scripts.lab.ground.addresses import HOME_GATEWAY, HOME_PREFIX
from scripts.lab.ground.commands import find_command
from scripts.lab.ground.ground import Site
from scripts.lab.ground.namespaces import in_network
from scripts.lab.homes.rules import HOME, WIRE

TABLE = "mapped"
MAPPING_RULES = f"""
table inet {TABLE} {{
    chain miniupnpd {{ }}
    chain prerouting_miniupnpd {{ }}
    chain postrouting_miniupnpd {{ }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        jump prerouting_miniupnpd
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        jump postrouting_miniupnpd
    }}
}}
"""
"""Where miniupnpd, with its usual names of chains, adds a rule for each mapping."""

_HTTP_PORT = 5000
_CONFIGURATION = f"""
ext_ifname={WIRE}
listening_ip={HOME}
http_port={_HTTP_PORT}
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
upnp_table_name={TABLE}
upnp_nat_table_name={TABLE}
uuid=0bc91132-7557-459f-8e26-70333dddeb30
allow 1024-65535 {HOME_GATEWAY}/{HOME_PREFIX} 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
"""
_NO_FILE = "/proc/self/miniupnpd.pid"
"""miniupnpd wants a file for its process id, and goes on where it can't write one."""
_READY_SECONDS = 10.0
_LOOK_SECONDS = 0.02


def check_port_mapping() -> None:
    """Raise LabUnavailableError, with what to install, where there is no miniupnpd."""
    find_command("miniupnpd")


class PortMapping:
    """A running miniupnpd. It dies with the lab, like everything in its namespaces."""

    def __init__(self, site: Site) -> None:
        """Return when it answers. Raises LabError, with what it printed, if it doesn't."""
        with tempfile.TemporaryFile() as configuration, tempfile.TemporaryFile() as said:
            configuration.write(_CONFIGURATION.encode())
            configuration.flush()
            file = f"/proc/self/fd/{configuration.fileno()}"
            self._process = subprocess.Popen(
                [*site.prefix, find_command("miniupnpd"), "-d", "-f", file, "-P", _NO_FILE],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                pass_fds=[configuration.fileno()],
                start_new_session=True,  # Ctrl-C is for the lab
            )
            if not in_network(site.network, self._answers):
                self.close()
                said.seek(0)
                last = said.read().decode(errors="replace").strip()[-500:]
                raise LabError(f"miniupnpd doesn't answer; it said: {last}")

    def close(self) -> None:
        """Kill it: its mappings stay until the router's rules are loaded again."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                socket.create_connection((HOME_GATEWAY, _HTTP_PORT), timeout=_READY_SECONDS).close()
                return True
            time.sleep(_LOOK_SECONDS)
        return False
