"""Loads a model's ends here and finds its layers in the swarm."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

from p2pinfer.client.generation import DistributedCausalLM
from p2pinfer.client.network import Network
from p2pinfer.client.session import Patience
from p2pinfer.errors import UsageError
from p2pinfer.folders import user_cache_folder
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.source import open_model
from p2pinfer.swarm.dht import Swarm
from p2pinfer.swarm.identity import Identity


class AutoDistributedModelForCausalLM:
    """Makes a DistributedCausalLM from a model's name, in the manner of transformers' Auto classes."""

    @staticmethod
    def from_pretrained(
        model: str | os.PathLike[str],
        *,
        initial_peers: Sequence[str],
        cache_folder: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        step_timeout: float = 30.0,
        join_timeout: float = 20.0,
        progress: Callable[[str], None] | None = None,
    ) -> DistributedCausalLM:
        """Load embeddings, final norm and head of `model`, and join the swarm that has its layers.

        Args:
            model: a Hugging Face id or folder, a .gguf file, or a layer store.
            initial_peers: multiaddresses of swarm members, as servers print them.
            cache_folder: where converted models are kept; default: the user's cache folder.
            timeout: seconds to wait for servers of all layers, when opening and when recovering.
            step_timeout: seconds after which a silent route is given up.
            join_timeout: seconds to wait for an answer from `initial_peers`.
            progress: called with a line per step of a conversion.

        Raises:
            SwarmUnreachableError: nobody answers at `initial_peers`.
            UnsupportedModelError: not a decoder family that p2pinfer runs.
            ModelError: the model can't be found or read.
        """
        if isinstance(initial_peers, str):
            initial_peers = [initial_peers]
        if not initial_peers:
            raise UsageError(
                "initial_peers is empty: give the addresses that a server prints after `join this swarm:`"
            )
        join = partial(_join, tuple(initial_peers), join_timeout)
        folder = Path(cache_folder) if cache_folder is not None else user_cache_folder()
        store = open_model(os.fspath(model), cache_folder=folder, progress=progress or (lambda line: None))
        network = Network(join, store.manifest)
        try:
            ends = ClientEnds.load(store)
            return DistributedCausalLM(store, ends, network, Patience(route=timeout, step=step_timeout))
        except BaseException:
            network.close()
            raise


def _join(
    initial_peers: Sequence[str], seconds: float, identity: Identity
) -> AbstractAsyncContextManager[Swarm]:
    return Swarm.join(initial_peers, identity, client_only=True, startup_timeout_seconds=seconds)
