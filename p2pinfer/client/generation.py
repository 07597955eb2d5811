"""A language model whose layers are elsewhere, for transformers' own generate()."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Cache, GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from p2pinfer.client.chain.failover import Patience
from p2pinfer.client.chain.session import HopReport, InferenceSession
from p2pinfer.client.network import Network
from p2pinfer.errors import UsageError
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.wire import inference_pb2 as pb
from p2pinfer.wire.receipt_pb2 import SignedReceipt

_current_session: ContextVar[InferenceSession | None] = ContextVar("p2pinfer_session", default=None)


class RemoteCache(Cache):
    """Stands where transformers expects its cache: the keys and values are with the servers.

    Holds each row's real tokens (padding left out), which is all the session needs.
    """

    def __init__(self, session: InferenceSession) -> None:
        super().__init__(layers=[])
        self.session = session
        self.rows: list[list[int]] = []
        self.columns = 0

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns of input seen so far, padding included."""
        return self.columns

    @property
    def is_compileable(self) -> bool:
        """False: there is nothing here to compile."""
        return False

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Refused: beams would need the servers to copy rows."""
        raise UsageError("beam search is not supported: use num_beams=1 (greedy or sampling)")


class DistributedCausalLM(PreTrainedModel, GenerationMixin):
    """Embeddings, final norm and head here; decoder layers with the swarm's servers.

    Use it like any causal language model of transformers: `generate` with sampling, streamers,
    stopping criteria and logits processors, or `model(ids).logits`. Call `close()` (or use it as a
    context manager) to leave the swarm; a program that ends leaves by itself.
    """

    main_input_name = "input_ids"
    _is_stateful = True  # tells transformers not to roll the cache back

    def __init__(
        self,
        store: LayerStore,
        ends: ClientEnds,
        network: Network,
        patience: Patience,
        wire_dtype: pb.WireDtype = pb.FLOAT32,
    ) -> None:
        super().__init__(store.config())
        self._store = store
        self._ends = ends
        self._network = network
        self._patience = patience
        self._wire_dtype = wire_dtype
        self._latest: list[HopReport] = []
        with contextlib.suppress(OSError):  # a model without one generates with transformers' defaults
            self.generation_config = GenerationConfig.from_pretrained(store.folder)
        self.training = False

    @property
    def manifest(self) -> Manifest:
        """The model's manifest: its hash is what servers must share."""
        return self._store.manifest

    @property
    def device(self) -> torch.device:
        """Where inputs are expected: the CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """Of the logits."""
        return torch.float32

    @contextlib.contextmanager
    def inference_session(self, max_length: int) -> Iterator[InferenceSession]:
        """Keep one session open over several generate() calls of this thread (in the with block).

        Each call is given the whole text so far; what the servers hold of it already is not
        computed again. `max_length` counts tokens per sequence, prompt and answer together.
        """
        session = self._new_session(max_length)
        with self._as_current(session):
            yield session

    def route_report(self) -> list[HopReport]:
        """Hops of the latest finished generate() or forward call, and the time each took."""
        return list(self._latest)

    def receipts(self) -> list[SignedReceipt]:
        """What this client has signed for, and servers have signed as well: the newest receipt of each
        session at each server. `read_receipt` of p2pinfer.wire.receipts tells what is in one."""
        return self._network.payer.receipts

    def close(self) -> None:
        """Leave the swarm."""
        self._network.close()

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
        """transformers' generate(), with the layers in the swarm.

        Raises UsageError for what needs more than one forward pass per token and sequence: beam
        search, assisted generation, constraints; and for embeddings as input.
        """
        _refuse_unsupported(generation_config or self.generation_config, kwargs)
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
        session = self._new_session(None)
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
            input_ids: [sequences, tokens]; with `past_key_values` only the new ones.
            attention_mask: [sequences, tokens seen and new], 0 where padding is; left or right.
            logits_to_keep: of how many trailing tokens logits are returned; 0: of all.

        Returns:
            `logits` [sequences, tokens kept, vocabulary], float32; zero where padding is.
        """
        if input_ids is None or inputs_embeds is not None:
            raise UsageError("pass input_ids: the servers' caches are keyed by tokens, embeddings have none")
        if labels is not None or output_attentions or output_hidden_states:
            raise UsageError("labels, attentions and hidden states of the layers stay with the servers")
        if past_key_values is None and _current_session.get() is None:
            session = self._new_session(min(max(input_ids.shape[1], 1), self.manifest.max_positions))
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
        real = np.ones((sequences, columns), dtype=bool)
        if attention_mask is not None:
            if attention_mask.dim() != 2 or attention_mask.shape[1] < columns:
                raise UsageError("attention_mask has the shape [sequences, tokens], 0 where padding is")
            real = attention_mask[:, -columns:].numpy().astype(bool)
        if not cache.rows:
            cache.rows = [[] for _ in range(sequences)]
        ids = input_ids.numpy()
        _check_tokens(ids, self.manifest.vocab_size)
        kept = min(keep, columns) if keep else columns
        rows = [row + ids[index][real[index]].tolist() for index, row in enumerate(cache.rows)]
        if any(not row for row in rows):
            raise UsageError("a sequence consists of padding alone: give each at least one token")
        # A row that ends in padding still has its last real token computed, so that every row steps.
        wanted = [max(int(real[index, -kept:].sum()), 1) for index in range(sequences)]
        states = cache.session.compute(rows, wanted)
        cache.rows, cache.columns = rows, cache.columns + columns
        scores = self._ends.logits(states[0] if sequences == 1 else np.concatenate(states))
        logits = _spread(scores, real[:, -kept:], wanted)
        return CausalLMOutputWithPast(logits=torch.from_numpy(logits), past_key_values=cache)

    def _prepare_cache_for_generation(  # type: ignore[override]
        self,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
        generation_mode: Any,
        batch_size: int,
        max_cache_length: int,
    ) -> None:
        """Called by generate(): give it our cache instead of transformers' own."""
        session = _current_session.get()
        if session is None or model_kwargs.get("past_key_values") is not None:
            raise UsageError(
                "past_key_values stay with the servers: use model.inference_session() to keep them"
            )
        session.limit_length(max_cache_length + 1)
        model_kwargs["past_key_values"] = RemoteCache(session)

    def _new_session(self, max_length: int | None) -> InferenceSession:
        return InferenceSession(
            self._network,
            self.manifest,
            self._ends,
            max_length=max_length,
            patience=self._patience,
            wire_dtype=self._wire_dtype,
        )

    @contextlib.contextmanager
    def _as_current(self, session: InferenceSession) -> Iterator[None]:
        token = _current_session.set(session)
        try:
            with session:
                yield
                self._latest = session.report()
        finally:
            _current_session.reset(token)


def _spread(
    scores: NDArray[np.float32], real: NDArray[np.bool_], wanted: Sequence[int]
) -> NDArray[np.float32]:
    """Scores [sum of wanted, vocabulary] at the real places [sequences, columns], zeros elsewhere."""
    if real.all():  # nothing is copied
        return scores.reshape(*real.shape, -1)
    logits = np.zeros((*real.shape, scores.shape[1]), dtype=np.float32)
    start = 0
    for index, count in enumerate(wanted):
        where = np.flatnonzero(real[index])
        logits[index, where] = scores[start : start + len(where)]
        start += count
    return logits


def _check_tokens(ids: Any, vocab_size: int) -> None:
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        raise UsageError(
            f"token {low if low < 0 else high} is outside the vocabulary of {vocab_size}: "
            "use this model's own tokenizer"
        )


def _refuse_unsupported(config: GenerationConfig, kwargs: dict[str, Any]) -> None:
    """Raise UsageError at the call for what would fail later, or silently compute something else."""

    def setting(name: str) -> Any:
        value = kwargs.get(name)
        return value if value is not None else getattr(config, name, None)

    if (setting("num_beams") or 1) > 1:
        raise UsageError("beam search is not supported: use num_beams=1 (greedy or sampling)")
    unsupported = (
        "assistant_model",
        "prompt_lookup_num_tokens",
        "penalty_alpha",
        "dola_layers",
        "constraints",
    )
    for name in unsupported:
        if setting(name):
            raise UsageError(f"{name} is not supported: use greedy decoding or sampling")
    if kwargs.get("inputs_embeds") is not None:
        raise UsageError("inputs_embeds is not supported: pass input_ids")
    if kwargs.get("past_key_values") is not None:
        raise UsageError("past_key_values stay with the servers: use model.inference_session() to keep them")
