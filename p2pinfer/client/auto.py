"""Loads a model's ends here and finds its layers in the swarm."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pinfer.client.chain.failover import Patience
from p2pinfer.client.joining import joining
from p2pinfer.client.network import Network
from p2pinfer.errors import UsageError
from p2pinfer.folders import user_cache_folder
from p2pinfer.identity import Identity
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.source import open_model
from p2pinfer.wire import inference_pb2 as pb

if TYPE_CHECKING:
    from p2pinfer.client.generation import DistributedCausalLM


_WIRE_DTYPES = {"float32": pb.FLOAT32, "int8": pb.INT8}


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
        wire_dtype: str = "float32",
        identity: str | os.PathLike[str] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> DistributedCausalLM:
        """Load embeddings, final norm and head of `model`, and join the swarm that has its layers.

        Args:
            model: a Hugging Face id or folder, a .gguf file, or a layer store.
            initial_peers: multiaddresses of swarm members, as servers print them.
            cache_folder: where converted models are kept; default: the user's cache folder.
            timeout: seconds to wait for servers of all layers, when opening and when others have left.
            step_timeout: seconds for which a server may hold one step, if it answers that it has it; who
                doesn't answer is replaced much sooner.
            join_timeout: seconds to wait for an answer from `initial_peers`.
            wire_dtype: how activations travel. "float32" loses nothing. "int8" sends a quarter of the bytes,
                for slow uplinks, and rounds: the text may differ, also between routes that are cut at other
                layers (docs/accuracy.md has the measured effect).
            identity: key file under which this client signs receipts for the servers' work, made if it isn't
                there. Sponsors keep one, to know later what they have signed; default: a new key in every
                process, whose receipts nobody redeems.
            progress: called with a line per step of a conversion.

        Raises:
            SwarmUnreachableError: nobody answers at `initial_peers`.
            UnsupportedModelError: not a decoder family that p2pinfer runs.
            ModelError: the model can't be found or read.
        """
        join = joining(initial_peers, seconds=join_timeout)
        if wire_dtype not in _WIRE_DTYPES:
            raise UsageError(f"wire_dtype={wire_dtype!r}: it is one of {', '.join(_WIRE_DTYPES)}")
        folder = Path(cache_folder) if cache_folder is not None else user_cache_folder()
        store = open_model(os.fspath(model), cache_folder=folder, progress=progress or (lambda line: None))
        payer = Identity.ephemeral() if identity is None else Identity.load_or_create(Path(identity))
        network = Network(join, store.manifest, payer)
        try:
            ends = ClientEnds.load(store)
            # Here and not above: it loads torch and transformers, which takes seconds.
            from p2pinfer.client.generation import DistributedCausalLM

            patience = Patience(route=timeout, step=step_timeout)
            return DistributedCausalLM(store, ends, network, patience, _WIRE_DTYPES[wire_dtype])
        except BaseException:
            network.close()
            raise
