"""Runs bench_join: seeders on a lab, and joiners with a fresh cache folder each, all real processes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from p2pinfer.errors import UsageError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.layer_store.names import MANIFEST_FILE, layer_files
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.model.source import open_model
from p2pinfer.types import Span
from scripts.benchmarks.join.model import QWEN, fetch_cut_model
from scripts.benchmarks.join.plan import (
    JOINERS,
    PROFILE,
    SEEDERS,
    different_shares,
    needs_one,
    same_share,
)
from scripts.benchmarks.join.watch import Joiner, Watch, disk_bytes
from scripts.benchmarks.shared.host_process import HostProcess
from scripts.benchmarks.shared.hosts import Hosts
from scripts.benchmarks.shared.report import machine, say
from scripts.lab import WanLab

_RUN_SECONDS = 3600.0
_SMALL = ("--max-cache-tokens", "1024")  # nobody generates here


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings from the command line."""

    parts: frozenset[str]
    model: str | None  # None: the one from the package index
    quick: bool
    repetitions: int
    slower: int
    seed: int
    logs: Path | None


def measure(settings: Settings) -> dict[str, Any]:
    """Run every part and return all numbers. Raises LabUnavailableError where there can be no lab."""
    WanLab(seed=settings.seed).close()  # before a gigabyte is fetched for nothing
    store = _whole_store(settings)
    manifest = store.manifest
    share = same_share(manifest.num_layers)
    measured: dict[str, Any] = {
        "model": manifest.name,
        "machine": machine(),
        "repetitions": settings.repetitions,
        "num_layers": manifest.num_layers,
        "slower": settings.slower,
        "share_layers": len(share),
        "share_bytes": manifest.bytes_of(layer_files(share)),
        "one": {},
        "same": [],
        "different": [],
        "client": [],
    }
    rounds = range(1, settings.repetitions + 1)
    whole = Span(0, manifest.num_layers)
    if needs_one(settings.parts) or "different" in settings.parts:
        with _Field.open(store, [whole], settings) as ground:
            if needs_one(settings.parts):
                measured["one"]["1"] = [ground.join([share], f"one joiner, round {at}") for at in rounds]
            if "same" in settings.parts:
                spans = [share] * JOINERS
                measured["same"] = [ground.join(spans, "the same share")]
            if "different" in settings.parts:
                spans = different_shares(manifest.num_layers)
                measured["different"] = [ground.join(spans, "different shares")]
    if settings.parts & {"many", "client"}:
        with _Field.open(store, [share] * SEEDERS, settings) as ground:
            if "many" in settings.parts:
                name = f"one joiner, {SEEDERS} seeders"
                measured["one"][str(SEEDERS)] = [ground.join([share], f"{name}, round {at}") for at in rounds]
            if "client" in settings.parts:
                measured["client"] = [ground.join_as_client(f"client, round {at}") for at in rounds]
    return measured


@dataclass(slots=True)
class _Field:
    """Seeders on hosts of a lab, and a new host for everybody who joins."""

    store: LayerStore
    hosts: Hosts
    seeders: LocalSwarm
    settings: Settings
    _joined: int = field(default=0)

    @classmethod
    @contextmanager
    def open(cls, store: LayerStore, spans: Sequence[Span], settings: Settings) -> Iterator[_Field]:
        """Start a seeder for each span, with all files of the model; it ends with the block."""
        with ExitStack() as stack:
            hosts = stack.enter_context(Hosts(PROFILE, seed=settings.seed, slower=settings.slower))
            swarm = stack.enter_context(LocalSwarm())
            say(f"starting {len(spans)} seeder{'s' * (len(spans) > 1)}, each on a host of its own")
            places = [hosts.server_place(f"seeder-{number}") for number in range(1, len(spans) + 1)]
            swarm.start(store.folder, spans, threads=1, server_arguments=_SMALL, places=places)
            yield cls(store, hosts, swarm, settings)

    @property
    def lab(self) -> WanLab:
        assert self.hosts.lab is not None
        return self.hosts.lab

    @property
    def model(self) -> str:
        """What joiners ask the swarm for."""
        return f"{self.store.manifest.name}@{self.store.manifest.hash}"

    def join(self, spans: Sequence[Span], what: str) -> dict[str, Any]:
        """A server for each span joins, all at once; returns when all are ready, and have left again."""
        say(what)
        manifest = self.store.manifest
        hosts = [self._new_host() for _ in spans]
        places = [self.hosts.server_place(host) for host in hosts]
        seeder_hosts = [name for name in self.lab.hosts if name.startswith("seeder-")]
        with tempfile.TemporaryDirectory(prefix="p2pinfer-joiners-") as folder, LocalSwarm() as joining:
            joining.initial_peers = list(self.seeders.initial_peers)
            watch = Watch(self.lab, seeder_hosts, [server.pid for server in self.seeders.servers])
            for host, span, place in zip(hosts, spans, places, strict=True):
                cache, started = Path(folder) / host, watch.now
                arguments = [*_SMALL, "--cache-folder", str(cache)]
                joining.launch(self.model, [span], threads=1, server_arguments=arguments, places=[place])
                needed = manifest.bytes_of(layer_files(span))
                watch.joiners.append(Joiner(host, joining.servers[-1], cache, needed, started))
            try:
                return watch.until_ready(_RUN_SECONDS)
            finally:
                self._keep_logs(watch.joiners)

    def join_as_client(self, what: str) -> dict[str, Any]:
        """A client joins, and leaves when it could generate."""
        say(what)
        manifest, host = self.store.manifest, self._new_host()
        prefix = self.hosts.client_prefix(host)
        needed = sum(manifest.files[name].bytes for name in manifest.end_files) + len(manifest.to_json())
        with tempfile.TemporaryDirectory(prefix="p2pinfer-client-") as folder:
            parameters = {
                "model": self.model,
                "initial_peers": self.seeders.initial_peers,
                "cache_folder": folder,
            }
            log = None if self.settings.logs is None else self.settings.logs / f"{host}.log"
            started_at = time.monotonic()
            with HostProcess("scripts.benchmarks.join.client", parameters, prefix=prefix, log=log) as client:
                client.hear_next(_RUN_SECONDS)
                seconds, counters = time.monotonic() - started_at, self.lab.counters()[host]
            return {
                "seconds": seconds,
                "needed_bytes": needed,
                "down_bytes": counters.down.bytes,
                "disk_bytes": disk_bytes(Path(folder)),
                "files": {
                    _place(path): path.stat().st_size
                    for path in sorted(Path(folder).rglob("*"))
                    if path.is_file()
                },
                "layers": [name for name in manifest.files if name not in manifest.end_files],
            }

    def _new_host(self) -> str:
        self._joined += 1
        return f"joiner-{self._joined}"

    def _keep_logs(self, joiners: Sequence[Joiner]) -> None:
        if self.settings.logs is not None:
            for joiner in joiners:
                (self.settings.logs / f"{joiner.host}.log").write_text("\n".join(joiner.server.lines))


def _place(path: Path) -> str:
    """The name of a file with its folder's, in short."""
    return f"{path.parent.name[:8]}/{path.name}"


def _whole_store(settings: Settings) -> LayerStore:
    cache = user_cache_folder()
    if settings.model is not None:
        model = settings.model
    elif settings.quick:
        model = str(fetch_model_file(SMOLLM2, cache, progress=say))
    else:
        model = str(fetch_cut_model(QWEN, cache, progress=say))
    store = open_model(model, cache_folder=cache, progress=say)
    if missing := store.missing(store.manifest.files):
        raise UsageError(f"{store.folder} lacks {len(missing)} files of its model: seeders need all of them")
    assert (store.folder / MANIFEST_FILE).exists()
    return store
