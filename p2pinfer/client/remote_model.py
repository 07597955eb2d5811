"""A model whose layers are in a swarm: what every kind of client needs, assembled once.

The model's files and its ends (embeddings, final norm, head) are here, the layers are with the swarm's
servers. What turns hidden states into text sits on it: generation.py for transformers, texts/ without, for
programs (plain.py) and the gateway.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from p2pinfer.client.batching.row_pool import PoolLimits, RowPool
from p2pinfer.client.batching.session_environment import Prefixes, SessionEnvironment
from p2pinfer.client.model_files import complete, kept, load_ends, open_local, open_named
from p2pinfer.client.network import Network, join_through
from p2pinfer.client.patience import Patience
from p2pinfer.client.prefixes.names import Names
from p2pinfer.client.prefixes.prefix_index import PrefixIndex
from p2pinfer.client.route.aim import Aim
from p2pinfer.client.session import InferenceSession
from p2pinfer.client.trust.kept import FILE_NAME, KeptReputations
from p2pinfer.errors import UsageError
from p2pinfer.folders import user_cache_folder
from p2pinfer.identity import Identity
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.swarm.membership.kept_peers import FILE_NAME as PEERS_FILE_NAME
from p2pinfer.swarm.membership.kept_peers import KeptPeers
from p2pinfer.wire import inference_pb2 as pb

_WIRE_DTYPES = {"float32": pb.FLOAT32, "int8": pb.INT8}


class RemoteModel:
    """Owns the layer store, the ends and the membership in the swarm, until it is closed."""

    def __init__(
        self,
        store: LayerStore,
        ends: ClientEnds,
        network: Network,
        *,
        patience: Patience,
        wire_dtype: pb.WireDtype = pb.FLOAT32,
        aim: Aim = Aim.LATENCY,
    ) -> None:
        self.store = store
        self.ends = ends
        self.network = network
        self._patience = patience
        self._wire_dtype = wire_dtype
        self._aim = aim
        self._kept = ExitStack()

    @classmethod
    def open(
        cls,
        model: str | os.PathLike[str],
        *,
        initial_peers: str | Sequence[str] | None,
        cache_folder: str | os.PathLike[str] | None = None,
        patience: Patience | None = None,
        join_timeout_seconds: float = 20.0,
        wire_dtype: str = "float32",
        aim: Aim = Aim.LATENCY,
        identity: str | os.PathLike[str] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Self:
        """Join the swarm, and open `model`: a path is converted first if need be, a name comes from servers.

        `wire_dtype` is "float32" or "int8". `aim` is what routes are chosen for. `identity` is the key file
        to sign receipts with; None: a new key. `progress` gets a line for each long step. Raises
        UsageError, ModelError, SwarmUnreachableError, and SwarmError if the model's files can't be fetched.
        """
        if wire_dtype not in _WIRE_DTYPES:
            raise UsageError(f"wire_dtype={wire_dtype!r} is unknown: use {' or '.join(_WIRE_DTYPES)}")
        folder = Path(cache_folder) if cache_folder is not None else user_cache_folder()
        known = KeptPeers(folder / PEERS_FILE_NAME)
        join = join_through(initial_peers, seconds=join_timeout_seconds, kept_peers=known)
        name = os.fspath(model)
        store = open_local(name, folder, progress)
        payer = Identity.ephemeral() if identity is None else Identity.load_or_create(Path(identity))
        with ExitStack() as otherwise:
            network = Network(join, payer, KeptReputations(folder / FILE_NAME))
            otherwise.callback(network.close)
            if store is None:
                store = open_named(name, network, folder, progress)
            else:
                complete(store, network, folder, progress)
            network.follow(store.manifest)
            remote = cls(
                store,
                load_ends(store, network, folder, progress),
                network,
                patience=patience or Patience(),
                wire_dtype=_WIRE_DTYPES[wire_dtype],
                aim=aim,
            )
            remote._kept.enter_context(kept(store, folder))
            otherwise.pop_all()
        return remote

    @property
    def manifest(self) -> Manifest:
        """The model's manifest: servers must have the same one."""
        return self.store.manifest

    def session(self, max_length: int | None) -> InferenceSession:
        """Make a session for sequences of at most `max_length` tokens, prompt and answer together.

        None: the length is set later, by `limit_length`, or is the model's own limit. Raises UsageError if
        the model takes fewer tokens.
        """
        return InferenceSession(
            self.network,
            self.manifest,
            self.ends,
            max_length=max_length,
            patience=self._patience,
            wire_dtype=self._wire_dtype,
            aim=self._aim,
        )

    def pool(self, loop: asyncio.AbstractEventLoop, limits: PoolLimits) -> RowPool:
        """Make sessions whose rows are independent texts, submitted in this loop."""
        environment = SessionEnvironment(
            network=self.network,
            manifest=self.manifest,
            ends=self.ends,
            patience=self._patience,
            loop=loop,
            prefixes=Prefixes(
                index=PrefixIndex(),
                names=Names(
                    self.network.payer.identity, model=self.manifest.hash, wire_dtype=self._wire_dtype
                ),
            ),
            reuses=limits.reuse_prefixes,
        )
        return RowPool(environment, limits, wire_dtype=self._wire_dtype, aim=self._aim)

    def close(self) -> None:
        """Leave the swarm. Closing twice is harmless."""
        self.network.close()
        self._kept.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
