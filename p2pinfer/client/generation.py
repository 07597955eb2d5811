"""A language model whose layers are in a swarm, for transformers' own generate()."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from p2pinfer.client.padding import real_tokens, spread
from p2pinfer.client.remote_cache import RemoteCache
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.session import HopReport, InferenceSession
from p2pinfer.client.unsupported import check_tokens, refuse_unsupported
from p2pinfer.errors import UsageError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.wire.receipt_pb2 import SignedReceipt

_current_session: ContextVar[InferenceSession | None] = ContextVar("p2pinfer_session", default=None)


class DistributedCausalLM(PreTrainedModel, GenerationMixin):
    """A causal language model: embeddings, final norm and head here, decoder layers with the swarm's servers.

    Use it like any causal language model of transformers: `generate` with sampling, streamers, stopping
    criteria and logits processors, or `model(ids).logits`. Call `close()`, or use it in a `with` block, to
    leave the swarm. A program that ends leaves by itself.
    """

    main_input_name = "input_ids"
    _is_stateful = True  # tells transformers not to roll the cache back

    def __init__(self, remote: RemoteModel) -> None:
        """Take over `remote`: closing this model closes it."""
        super().__init__(remote.store.config())
        self.remote = remote
        self._latest: list[HopReport] = []
        with contextlib.suppress(OSError):  # a model without one generates with transformers' defaults
            self.generation_config = GenerationConfig.from_pretrained(remote.store.folder)
        self.training = False

    @property
    def manifest(self) -> Manifest:
        """The model's manifest: servers must have the same one."""
        return self.remote.manifest

    @property
    def device(self) -> torch.device:
        """The device for inputs: the CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the logits."""
        return torch.float32

    @contextlib.contextmanager
    def inference_session(self, max_length: int) -> Iterator[InferenceSession]:
        """Keep one session open for all generate() calls of this thread within the `with` block.

        Give each call the whole text so far: servers compute only what is new. `max_length` counts the
        tokens per sequence, prompts and answers together.
        """
        session = self.remote.session(max_length)
        with self._as_current(session):
            yield session

    def route_report(self) -> list[HopReport]:
        """List the servers of the latest finished generate() or forward call, and the time each took."""
        return list(self._latest)

    def receipts(self) -> list[SignedReceipt]:
        """List the receipts that this client and a server have both signed: the newest of each session.

        `p2pinfer.wire.receipts.read_receipt` tells what is in one.
        """
        return self.remote.network.payer.receipts

    def close(self) -> None:
        """Leave the swarm."""
        self.remote.close()

    def __enter__(self) -> DistributedCausalLM:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @torch.inference_mode()
    def generate(  # type: ignore[override]
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Generate text: the method of transformers, with the layers in the swarm.

        Raises UsageError for methods that need more than one forward pass per token and sequence (beam
        search, assisted generation, constraints) and for embeddings as input. Raises NoRouteError if no
        server holds some layers for too long, PromptTooLongError, RefusedError and HopFailedError;
        `error.rows` then has the tokens so far.
        """
        refuse_unsupported(generation_config or self.generation_config, kwargs)
        given = inputs if inputs is not None else kwargs.get("input_ids")
        if given is None or given.dim() != 2 or given.shape[0] == 0 or given.shape[1] == 0:
            raise UsageError(
                "generate() needs input_ids of shape [sequences, tokens] with at least one token"
            )
        shared = _current_session.get()
        if shared is not None:
            output = super().generate(inputs, generation_config, **kwargs)  # type: ignore[misc]
            self._latest = shared.report()
            return output
        session = self.remote.session(None)
        with self._as_current(session):
            return super().generate(inputs, generation_config, **kwargs)  # type: ignore[misc]

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: RemoteCache | None = None,
        logits_to_keep: int = 0,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        **_: Any,
    ) -> CausalLMOutputWithPast:
        """Run tokens through the swarm.

        Args:
            input_ids: [sequences, tokens]; with `past_key_values` only the new tokens.
            attention_mask: [sequences, all tokens so far], 0 where padding is, left or right.
            logits_to_keep: How many trailing tokens get logits; 0: all.

        Returns:
            `logits` [sequences, tokens kept, vocabulary], float32; zero where padding is.
        """
        if input_ids is None or inputs_embeds is not None:
            raise UsageError("pass input_ids: the servers' caches are keyed by tokens, embeddings have none")
        if labels is not None or output_attentions or output_hidden_states:
            raise UsageError("labels, attentions and hidden states of the layers stay with the servers")
        if past_key_values is None and _current_session.get() is None:
            session = self.remote.session(min(max(input_ids.shape[1], 1), self.manifest.max_positions))
            with self._as_current(session):
                return self._forward(input_ids, attention_mask, RemoteCache(session), logits_to_keep)
        cache = past_key_values
        if cache is None:
            current = _current_session.get()
            assert current is not None
            cache = RemoteCache(current)
        return self._forward(input_ids, attention_mask, cache, logits_to_keep)

    def _forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None, cache: RemoteCache, keep: int
    ) -> CausalLMOutputWithPast:
        sequences, columns = input_ids.shape
        real = real_tokens(attention_mask, sequences, columns)
        if not cache.rows:
            cache.rows = [[] for _ in range(sequences)]
        ids = input_ids.numpy()
        check_tokens(ids, self.manifest.vocab_size)
        kept = min(keep, columns) if keep else columns
        rows = [row + ids[index][real[index]].tolist() for index, row in enumerate(cache.rows)]
        if any(not row for row in rows):
            raise UsageError("a sequence consists of padding alone: give each at least one token")
        # Even for a row that ends in padding its last real token is computed: every row takes part.
        wanted = [max(int(real[index, -kept:].sum()), 1) for index in range(sequences)]
        states = cache.session.compute(rows, wanted)
        cache.rows, cache.columns = rows, cache.columns + columns
        scores = self.remote.ends.logits(states[0] if sequences == 1 else np.concatenate(states))
        logits = spread(scores, real[:, -kept:], wanted)
        return CausalLMOutputWithPast(logits=torch.from_numpy(logits), past_key_values=cache)

    def _prepare_cache_for_generation(  # type: ignore[override]
        self,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
        generation_mode: Any,
        batch_size: int,
        max_cache_length: int,
    ) -> None:
        """Give generate(), which calls this, a RemoteCache instead of a cache of transformers."""
        session = _current_session.get()
        if session is None or model_kwargs.get("past_key_values") is not None:
            raise UsageError(
                "past_key_values stay with the servers: use model.inference_session() to keep them"
            )
        session.limit_length(max_cache_length + 1)
        model_kwargs["past_key_values"] = RemoteCache(session)

    @contextlib.contextmanager
    def _as_current(self, session: InferenceSession) -> Iterator[None]:
        token = _current_session.set(session)
        try:
            with session:
                yield
                self._latest = session.report()
        finally:
            _current_session.reset(token)
