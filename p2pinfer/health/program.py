"""The two ways to run: a page that is served until a signal comes, or a report that is printed once."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import ExitStack
from pathlib import Path

from p2pinfer.command_line.output import complain, has_color, say, show
from p2pinfer.command_line.stopping import leave_at_once, until_signal
from p2pinfer.health.config import HealthConfig
from p2pinfer.health.json_form import as_json
from p2pinfer.health.kept.keeping import copied, keeping
from p2pinfer.health.kept.swarm_folder import find_folder, peers_of
from p2pinfer.health.probe import Probe, probes_of
from p2pinfer.health.terminal import as_text
from p2pinfer.health.watcher import Watcher
from p2pinfer.http.listening import address_of, listen
from p2pinfer.swarm.membership.kept_peers import FILE_NAME, KeptPeers
from p2pinfer.tasks import first_of


def run_program(config: HealthConfig) -> int:
    """Run it. Returns 0 after a normal end; a page ends normally by a signal.

    A report that a signal ended returns 128 and the signal's number: nothing, or not all, was printed.
    """
    probes: list[Probe] = []
    ended_by = asyncio.run(until_signal(_report(config, probes) if config.once else _serve(config, probes)))
    status = 0
    if config.once and ended_by is not None:
        complain("p2pinfer.health: stopped before there was a report")
        status = 128 + ended_by
    if any(probe.is_left_behind for probe in probes):
        leave_at_once(status)
    return status


async def _report(config: HealthConfig, probes: list[Probe]) -> None:
    """Read the swarm once, probe it if asked to, and print the state."""
    with copied(config.data_folder, config.initial_peers) as (history, contributions):
        known = KeptPeers(_peers_file(config), is_read_only=True)
        watcher = Watcher(config, history, contributions, kept_peers=known)
        await watcher.watch_once()
        async with probes_of(config) as found:
            probes += found
            for probe in found:
                watcher.note_probe(*await probe.probe())
    if config.as_json:
        show(json.dumps(as_json(watcher.state()), indent=2))
    else:
        width = shutil.get_terminal_size((100, 24)).columns
        report = as_text(watcher.state(), width=width, color=has_color(sys.stdout))
        show(report.removesuffix("\n"))


async def _serve(config: HealthConfig, probes: list[Probe]) -> None:
    """Watch the swarm and serve the page until this is cancelled."""
    from p2pinfer.health.web.app import create_app  # a report needs no web server
    from p2pinfer.health.web.server import page_server

    await asyncio.sleep(0)  # a signal that came during the imports
    with ExitStack() as resources:
        listener = resources.enter_context(listen(config.host, config.port))
        history, contributions = resources.enter_context(keeping(config.data_folder, config.initial_peers))
        watcher = Watcher(config, history, contributions, kept_peers=KeptPeers(_peers_file(config)))
        server = page_server(create_app(watcher), config.proxies)
        say(f"the page is at {address_of(listener)}")
        async with probes_of(config) as found:
            probes += found
            await first_of(
                watcher.watch_forever(),
                server.serve_until_cancelled(listener),
                *(probe.probe_forever(config.probe_seconds, watcher.note_probe) for probe in found),
            )


def _peers_file(config: HealthConfig) -> Path:
    """Whom the page met in this swarm, beside its history."""
    return find_folder(config.data_folder, peers_of(config.initial_peers)) / FILE_NAME
