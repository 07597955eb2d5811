"""A language model whose layers are in a swarm, for transformers' own generate()."""

from __future__ import annotations

import contextlib
import inspect
import logging
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    GenerationConfig,
    GenerationMixin,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import ModelOutput

from p2pinfer.client.arguments.lengths import new_tokens
from p2pinfer.client.arguments.petals import attribute_hint
from p2pinfer.client.arguments.tokens import (
    Integers,
    check_ends_are_real,
    check_positions,
    kept_columns,
    pick_states,
    real_tokens,
    sliding_window,
    spread,
    token_ids,
)
from p2pinfer.client.arguments.unsupported import refuse_unsupported
from p2pinfer.client.remote_cache import RemoteCache
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.client.session import HopReport, InferenceSession
from p2pinfer.errors import ModelError, P2PInferError, UsageError
from p2pinfer.model.layer_store.manifest import Manifest
from p2pinfer.wire.receipt_pb2 import SignedReceipt

logger = logging.getLogger(__name__)

_SIGNATURE = inspect.signature(GenerationMixin.generate)


@dataclass(frozen=True, slots=True)
class _Prompt:
    """What the generate() call under way was given."""

    ids: Integers
    other_columns: int
    """Columns of the negative prompt, which goes through the same session."""


_current_session: ContextVar[InferenceSession | None] = ContextVar("p2pinfer_session", default=None)
_current_prompt: ContextVar[_Prompt | None] = ContextVar("p2pinfer_prompt", default=None)


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
        try:
            self.generation_config = GenerationConfig.from_pretrained(remote.store.folder)
        except OSError:
            pass  # a model without one generates with transformers' defaults
        except ValueError as error:
            raise ModelError(f"{remote.store.folder}/generation_config.json is not valid: {error}") from error
        self.training = False

    @property
    def manifest(self) -> Manifest:
        """The model's manifest: servers must have the same one."""
        return self.remote.manifest

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's own tokenizer: its files belong to the manifest. It never runs code of its own.

        Raises ModelError if its files can't be read.
        """
        try:
            return AutoTokenizer.from_pretrained(self.remote.store.folder, trust_remote_code=False)
        except Exception as error:  # its files come from strangers, and its readers raise anything
            raise ModelError(f"the tokenizer in {self.remote.store.folder} can't be read: {error}") from error

    @property
    def device(self) -> torch.device:
        """The device for inputs: the CPU."""
        return torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The type of the logits."""
        return torch.float32

    @contextlib.contextmanager
    def inference_session(self, max_length: int | None = None, **others: Any) -> Iterator[InferenceSession]:
        """Keep one session open for all generate() and forward calls of this thread within the `with` block.

        Give each generate() the whole text so far: servers compute only what is new. `max_length` counts the
        tokens per sequence, prompts and answers together; it must be given, because servers keep memory for
        so many. Raises UsageError.
        """
        for name in others:
            raise UsageError(f"{name} is not supported: inference_session() takes max_length only")
        if max_length is None:
            raise UsageError(
                "inference_session() needs max_length: the tokens of the longest text, prompt and answers "
                "together, which the servers keep memory for"
            )
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

    def generate(
        self,
        inputs: torch.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        *others: Any,
        **kwargs: Any,
    ) -> Any:
        """Generate text: the method of transformers, with its arguments, and the layers in the swarm.

        The text ends with its stop conditions, or where the model's (or the session's) context ends.

        Raises UsageError for an option that can't be honoured exactly: methods that need more than one
        forward pass per token and sequence (beam search, assisted generation, constraints), embeddings as
        input, padding on the right; docs/clients.md lists them. Raises PromptTooLongError if the prompt, and
        `min_new_tokens` after it, don't fit. Raises NoRouteError if no server can take some layers for too
        long, RefusedError and HopFailedError. `error.rows` then has the tokens so far.
        """
        call = _SIGNATURE.bind(self, inputs, generation_config, *others, **kwargs).arguments
        given = {**call, **call.pop("kwargs", {})}
        if generation_config is not None and not isinstance(generation_config, GenerationConfig):
            raise UsageError(f"generation_config must be a GenerationConfig, not {type(generation_config)}")
        config, _ = self._prepare_generation_config(  # type: ignore[misc]
            generation_config, **kwargs
        )
        refuse_unsupported(config, given)
        ids = token_ids(self._prompt_of(given), self.manifest.vocab_size)
        rows = list(ids)
        try:
            real = real_tokens(given.get("attention_mask"), ids.shape)
            rows = [row[there] for row, there in zip(ids, real, strict=True)]
            sequences = len(ids) * (config.num_return_sequences or 1)
            with self._as_prompt(_Prompt(ids, self._columns_of_negative_prompt(given, sequences))):
                output = self._generate(inputs, generation_config, *others, **kwargs)
        except P2PInferError as error:
            if error.rows is None:
                error.rows = [row.tolist() for row in rows]
            raise
        if isinstance(output, ModelOutput) and config.use_cache is False:
            output.past_key_values = None
        return output

    def generate_batch(self, *_: Any, **__: Any) -> Any:
        """Raise UsageError: transformers' continuous batching needs the layers here."""
        raise UsageError("generate_batch is not supported: call generate() in several threads")

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: RemoteCache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **others: Any,
    ) -> CausalLMOutputWithPast | tuple[Any, ...]:
        """Run tokens through the swarm.

        Args:
            input_ids: [sequences, tokens]; with `past_key_values` only the new tokens.
            attention_mask: [sequences, all tokens so far], 0 where padding is, left or right.
            position_ids: [sequences or 1, tokens]: only those that count each sequence's real tokens, which
                is what servers compute. With them, padding may also be between real tokens.
            past_key_values: What an earlier call within `inference_session()` has returned.
            use_cache: False: return no `past_key_values`.
            logits_to_keep: How many trailing tokens get logits (0: all), or the indices of those that do.
            return_dict: False: return a tuple.

        Returns:
            `logits` [sequences, tokens kept, vocabulary], float32; zero where padding is. Outside of
            `inference_session()` the servers free their caches with the call: then its `past_key_values`
            raise UsageError when they are used.

        Raises UsageError for arguments that can't be honoured exactly, and what `generate` raises.
        """
        if input_ids is None or inputs_embeds is not None:
            raise UsageError("pass input_ids: the servers' caches are keyed by tokens, embeddings have none")
        if labels is not None or output_attentions or output_hidden_states:
            raise UsageError("labels, attentions and hidden states of the layers stay with the servers")
        for name, value in others.items():
            if value is not None and name != "tokenizer":  # generate() hands it on, for its stop strings
                raise UsageError(f"{name} is not supported: leave it away")
        ids = token_ids(input_ids, self.manifest.vocab_size)
        with self._session_for(past_key_values, ids.shape[1]) as session:
            cache = RemoteCache(session) if past_key_values is None else past_key_values
            logits = self._forward(ids, attention_mask, position_ids, cache, logits_to_keep)
        keeps_cache = getattr(self.config, "use_cache", True) if use_cache is None else use_cache
        output = CausalLMOutputWithPast(logits=logits, past_key_values=cache if keeps_cache else None)
        as_dict = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if as_dict else output.to_tuple()

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError as error:
            hint = attribute_hint(name)
            raise (error if hint is None else AttributeError(f"no attribute {name!r}: {hint}")) from None

    def _prompt_of(self, given: dict[str, Any]) -> Any:
        prompt, by_name = given.get("inputs"), given.get("input_ids")
        if prompt is not None and by_name is not None:
            raise UsageError("give the prompt once: as inputs or as input_ids")
        if prompt is not None or by_name is not None:
            return by_name if prompt is None else prompt
        if _current_session.get() is not None:
            raise UsageError(
                "generate() needs input_ids in a session too: the whole text so far, prompt and answers. "
                "The servers compute only what is new in it"
            )
        raise UsageError("generate() needs input_ids of shape [sequences, tokens] with at least one token")

    def _columns_of_negative_prompt(self, given: dict[str, Any], sequences: int) -> int:
        """Return the width of the negative prompt, 0 without one. Raises UsageError if it can't be run."""
        if given.get("negative_prompt_ids") is None:
            return 0
        ids = token_ids(given["negative_prompt_ids"], self.manifest.vocab_size)
        if len(ids) != sequences:
            raise UsageError(f"negative_prompt_ids have {len(ids)} sequences for {sequences} texts")
        real = real_tokens(given.get("negative_prompt_attention_mask"), ids.shape)
        check_ends_are_real(real)
        check_positions(None, real, real[:, :0], window=sliding_window(self.config))
        return int(ids.shape[1])

    def _generate(self, *arguments: Any, **kwargs: Any) -> Any:
        shared = _current_session.get()
        if shared is not None:
            output = super().generate(*arguments, **kwargs)  # type: ignore[misc]
            self._latest = shared.report()
            return output
        with self._as_current(self.remote.session(None)):
            return super().generate(*arguments, **kwargs)  # type: ignore[misc]

    def _forward(
        self, ids: Integers, attention_mask: Any, position_ids: Any, cache: RemoteCache, logits_to_keep: Any
    ) -> torch.Tensor:
        sequences, columns = ids.shape
        seen = np.ones((sequences, 0), dtype=bool) if cache.real is None else cache.real
        if len(seen) != sequences:
            raise UsageError(f"past_key_values are of {len(seen)} sequences, input_ids of {sequences}")
        real = real_tokens(attention_mask, (sequences, columns), seen)
        check_positions(position_ids, real, seen, window=sliding_window(self.config))
        kept = kept_columns(logits_to_keep, columns)
        held = cache.rows or [[] for _ in range(sequences)]
        rows = [row + new[there].tolist() for row, new, there in zip(held, ids, real, strict=True)]
        # A row whose newest tokens are all padding takes part with its last real token.
        wanted = [max(int(row[kept.min(initial=columns - 1) :].sum()), 1) for row in real]
        states = cache.session.compute(rows, wanted)
        cache.rows, cache.real = rows, np.concatenate([seen, real], axis=1)
        picked, places = pick_states(states, real, kept)
        if not len(picked):
            return torch.zeros(*places.shape, self.manifest.vocab_size)
        return torch.from_numpy(spread(self.remote.ends.logits(picked), places))

    def _prepare_cache_for_generation(  # type: ignore[override]
        self,
        generation_config: GenerationConfig,
        model_kwargs: dict[str, Any],
        generation_mode: Any,
        batch_size: int,
        max_cache_length: int,
    ) -> None:
        """Give generate(), which calls this, a RemoteCache, and let the text end where the context ends.

        `generation_config` is generate()'s own copy, with every option resolved.
        """
        session, prompt = _current_session.get(), _current_prompt.get()
        if session is None or prompt is None or model_kwargs.get("past_key_values") is not None:
            raise UsageError(
                "past_key_values stay with the servers: use model.inference_session() to keep them"
            )
        columns = prompt.ids.shape[1]
        mask = model_kwargs.get("attention_mask")  # the caller's, or made from pad_token_id
        real = real_tokens(mask, (len(prompt.ids) if mask is None else len(mask), columns))
        check_ends_are_real(real)
        longest = max(int(real.sum(axis=1).max()), prompt.other_columns)
        asked = max_cache_length + 1 - columns
        count = new_tokens(
            asked=asked,
            fitting=session.new_tokens_that_fit(longest),
            columns=columns,
            min_length=generation_config.min_length,
            min_new_tokens=generation_config.min_new_tokens,
        )
        if count < asked:
            logger.warning(
                "the text ends after %d of %d new tokens: no more fit after %d", count, asked, longest
            )
        generation_config.max_length = columns + count
        session.limit_length(longest + count)
        # Servers cache anyway, and cut prompts themselves: the text is the same.
        generation_config.use_cache, generation_config.prefill_chunk_size = True, None
        model_kwargs["past_key_values"] = RemoteCache(session)

    @contextlib.contextmanager
    def _session_for(self, cache: RemoteCache | None, columns: int) -> Iterator[InferenceSession]:
        """Yield the session of a forward call: the cache's, the one that is open, or one for this call."""
        current = _current_session.get()
        if cache is not None:
            if not isinstance(cache, RemoteCache) or cache.session.model != self.manifest.hash:
                raise UsageError("past_key_values must come from this model within inference_session()")
            yield cache.session
        elif current is not None:
            yield current
        else:
            session = self.remote.session(min(columns, self.manifest.max_positions))
            with self._as_current(session):
                yield session

    @contextlib.contextmanager
    def _as_prompt(self, prompt: _Prompt) -> Iterator[None]:
        token = _current_prompt.set(prompt)
        try:
            yield
        finally:
            _current_prompt.reset(token)

    @contextlib.contextmanager
    def _as_current(self, session: InferenceSession) -> Iterator[None]:
        token = _current_session.set(session)
        try:
            with session:
                yield
                self._latest = session.report()
        finally:
            _current_session.reset(token)
