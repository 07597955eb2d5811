"""Loads a model's ends here and finds its layers in the swarm."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from p2pinfer.client.arguments.loading import aim, check_known, model_name, seconds
from p2pinfer.client.patience import Patience
from p2pinfer.client.remote_model import RemoteModel

if TYPE_CHECKING:
    from p2pinfer.client.generation import DistributedCausalLM


class AutoDistributedModelForCausalLM:
    """Makes a DistributedCausalLM from a model's name, in the manner of transformers' Auto classes."""

    @staticmethod
    def from_pretrained(
        model: str | os.PathLike[str] | None = None,
        initial_peers: str | Sequence[str] | None = None,
        *,
        cache_folder: str | os.PathLike[str] | None = None,
        timeout: float = 60.0,
        step_timeout: float = 30.0,
        join_timeout: float = 20.0,
        wire_dtype: str = "float32",
        routing: str = "latency",
        identity: str | os.PathLike[str] | None = None,
        progress: Callable[[str], None] | None = None,
        **others: Any,
    ) -> DistributedCausalLM:
        """Join a swarm and return a model that computes its decoder layers there.

        The result is used like any causal language model of transformers:

            from p2pinfer import AutoDistributedModelForCausalLM

            with AutoDistributedModelForCausalLM.from_pretrained(name, initial_peers=[address]) as model:
                inputs = model.tokenizer("The capital of France is", return_tensors="pt")
                tokens = model.generate(**inputs, max_new_tokens=20)
                print(model.tokenizer.decode(tokens[0]))

        This computer holds the tokenizer, the embeddings, the final norm and the head, and none of the
        layers. For a model that the swarm serves these files come from its servers; later calls read the
        cache. No server has to be there yet where the model is on this computer: `generate` waits for
        servers, for up to `timeout` seconds.

        Args:
            model: The name of a model as the swarm lists it, `NAME@HASH` (the first digits of its manifest's
                hash) where two models have the name, or the hash. Or a model of this computer: a layer store
                made by `python -m p2pinfer.convert`, a folder in Hugging Face's format, a .gguf file, or a
                Hugging Face id that was downloaded or converted here before. Servers must serve exactly the
                same weights.
            initial_peers: Addresses of one or more members of the swarm, as a server prints them after
                `join this swarm:`: a list, or the printed text. One that answers is enough.
            cache_folder: Where fetched and converted models are kept. Default: the user's cache folder.
            timeout: Seconds to wait until servers for all layers are found, at the start of a text and
                after servers have left. Then `generate` raises NoRouteError.
            step_timeout: Seconds that a server may work on one step. A server that does not even answer is
                replaced much sooner.
            join_timeout: Seconds to wait for an answer from `initial_peers`.
            wire_dtype: How activations travel. "float32" is exact. "int8" sends a quarter of the bytes, for
                slow uplinks, and rounds: the text may differ, also between two routes that split the layers
                differently. docs/accuracy.md has the measured effect.
            routing: Which servers are best. "latency": those that answer this text soonest; a batch of many
                texts counts the speed of batches, and the ways between servers less. "throughput": those
                that compute most tokens per second, for many texts in several threads.
            identity: A file with the key that signs receipts for the servers' work; it is made if it does
                not exist. Sponsors keep one, so that they can tell later which receipts are theirs.
                Default: a new key in every process, whose receipts can't be redeemed.
            progress: A function that gets a line of text for each long step, for example `print`. Default:
                a bar while files are fetched, if the program's output is a terminal.

        Returns:
            The model. Call `close()`, or use it in a `with` block, to leave the swarm. A program that ends
            leaves by itself.

        Raises:
            UsageError: `model` or `initial_peers` is missing or malformed, two models of the swarm have the
                name, `wire_dtype` or `routing` is unknown, or an argument is none of these.
            SwarmUnreachableError: None of `initial_peers` has answered.
            UnsupportedModelError: The model is not of a decoder family that p2pinfer runs.
            SwarmError: The model's files can't be fetched.
            ModelError: The model can't be found or read, or what came must not be used.
        """
        check_known(others, _ARGUMENTS)
        remote = RemoteModel.open(
            model_name(model),
            initial_peers=initial_peers,
            cache_folder=cache_folder,
            patience=Patience(
                route=seconds("timeout", timeout),
                route_hint="`timeout` sets how long",
                step=seconds("step_timeout", step_timeout),
            ),
            join_timeout_seconds=seconds("join_timeout", join_timeout),
            wire_dtype=wire_dtype,
            aim=aim(routing),
            identity=identity,
            progress=progress,
        )
        try:
            # Imported here, because it loads torch and transformers, which takes seconds.
            from p2pinfer.client.generation import DistributedCausalLM

            return DistributedCausalLM(remote)
        except BaseException:
            remote.close()
            raise


_ARGUMENTS = list(inspect.signature(AutoDistributedModelForCausalLM.from_pretrained).parameters)[:-1]
