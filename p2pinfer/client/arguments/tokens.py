"""Token ids, masks and positions as transformers passes them: which tokens are real, and which get logits.

A server's cache holds one sequence's tokens one after the other, at positions 0, 1, 2 and so on. So a mask
may hide padding, and positions may only count the tokens that are not hidden: anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from p2pinfer.errors import UsageError

Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


def token_ids(given: Any, vocab_size: int) -> Integers:
    """Return `given` as [sequences, tokens], at least one of each.

    Raises UsageError if it is anything but token ids of the model.
    """
    if isinstance(given, str) or (isinstance(given, list | tuple) and given and isinstance(given[0], str)):
        raise UsageError(
            "this is text, and the model takes token ids: tokenizer(text, return_tensors='pt').input_ids"
        )
    if isinstance(given, Mapping) or hasattr(given, "input_ids"):
        raise UsageError("a tokenizer's whole result has to be unpacked: model.generate(**inputs)")
    if not isinstance(given, torch.Tensor):
        raise UsageError(
            f"input_ids must be a tensor of token ids, not {_kind(given)}: torch.tensor([[...]])"
        )
    if given.dtype not in (torch.int64, torch.int32):
        raise UsageError(f"input_ids must be integers, of torch.long, not of {given.dtype}")
    if given.dim() != 2 or 0 in given.shape:
        raise UsageError(
            "input_ids must have the shape [sequences, tokens] with at least one token, "
            f"not {list(given.shape)}"
        )
    ids: Integers = given.cpu().numpy().astype(np.int64, copy=False)
    low, high = int(ids.min()), int(ids.max())
    if low < 0 or high >= vocab_size:
        raise UsageError(
            f"token {low if low < 0 else high} is outside the vocabulary of {vocab_size}: "
            "use this model's own tokenizer"
        )
    return ids


def real_tokens(attention_mask: Any, shape: tuple[int, int], seen: Bools | None = None) -> Bools:
    """Return where the newest tokens, of `shape` [sequences, columns], are real.

    `attention_mask` covers the columns in `seen` as well, [sequences, columns before], and must say of them
    what it said before. None: all are real. Raises UsageError if a mask can't be meant like that, or leaves
    a sequence without a real token.
    """
    sequences, columns = shape
    seen = np.ones((sequences, 0), dtype=bool) if seen is None else seen
    if attention_mask is None:
        if not seen.all():
            raise UsageError(
                "the tokens before these had padding: give the attention_mask of all tokens so far, "
                f"of shape {[sequences, seen.shape[1] + columns]}"
            )
        return np.ones(shape, dtype=bool)
    whole = _mask(attention_mask, (sequences, seen.shape[1] + columns))
    before, real = whole[:, : seen.shape[1]], whole[:, seen.shape[1] :]
    if not np.array_equal(before, seen):
        raise UsageError("attention_mask hides other tokens than it did when they were computed")
    if not whole.any(axis=1).all():
        row = int(np.flatnonzero(~whole.any(axis=1))[0])
        raise UsageError(f"sequence {row} consists of padding alone: give each at least one token")
    return real


def check_positions(position_ids: Any, real: Bools, seen: Bools, *, window: int | None) -> None:
    """Raise UsageError unless the servers give the tokens these positions.

    `position_ids` is [sequences or 1, columns], for the newest columns; None: each column counts, as in
    transformers. Where `real` is false they don't matter. `window` is the model's sliding window, which
    counts hidden tokens in transformers, and so forbids them between others.
    """
    whole = np.concatenate([seen, real], axis=1)
    has_hole = not whole.all() and has_holes(whole)
    if has_hole and window is not None:
        raise UsageError(
            "attention_mask has a hole: this model's sliding window would count the hidden tokens; "
            "leave them out of input_ids"
        )
    if position_ids is None:
        if has_hole:
            raise UsageError(
                "attention_mask has a hole, so the positions would have gaps, which servers can't compute: "
                "leave the hidden tokens out of input_ids, or give position_ids that count the others only"
            )
        return
    if not isinstance(position_ids, torch.Tensor):
        raise UsageError(f"position_ids must be a tensor, not {_kind(position_ids)}")
    sequences, columns = real.shape
    shape = tuple(position_ids.shape)
    if shape not in ((sequences, columns), (1, columns)):
        raise UsageError(
            f"position_ids must have the shape {[sequences, columns]} of input_ids, not {list(shape)}"
        )
    if position_ids.is_floating_point() or position_ids.is_complex():
        raise UsageError(f"position_ids must be integers, not of {position_ids.dtype}")
    positions = np.broadcast_to(position_ids.cpu().numpy(), real.shape)
    implied = seen.sum(axis=1, keepdims=True) + real.cumsum(axis=1) - 1
    if not np.array_equal(positions[real], implied[real]):
        raise UsageError(
            "position_ids must count each sequence's real tokens: 0, 1, 2 and so on, from the first one that "
            "attention_mask doesn't hide. Servers compute no other positions; leave position_ids away"
        )


def has_holes(real: Bools) -> bool:
    """True if a hidden token stands between two real ones of its sequence."""
    steps = np.diff(real.astype(np.int8), axis=1, prepend=0)
    return bool(((steps == 1).sum(axis=1) > 1).any())


def check_ends_are_real(real: Bools) -> None:
    """Raise UsageError if a prompt ends in padding: its next token would follow a hidden one."""
    if real[:, -1].all():
        return
    row = int(np.flatnonzero(~real[:, -1])[0])
    raise UsageError(
        f"sequence {row} ends in padding, and generate() continues after the last column: pad on the left "
        "(tokenizer.padding_side = 'left'). If pad_token_id is a real token there, give attention_mask"
    )


def kept_columns(logits_to_keep: Any, columns: int) -> Integers:
    """Return the columns that get logits, in the order in which they are asked for.

    `logits_to_keep` is the number of trailing columns (0: all), or a tensor that indexes the columns, as for
    transformers' own models. Raises UsageError.
    """
    if isinstance(logits_to_keep, int):
        return np.arange(columns)[slice(-logits_to_keep, None)]
    if not isinstance(logits_to_keep, torch.Tensor) or logits_to_keep.dim() != 1:
        raise UsageError("logits_to_keep must be a number of columns, or a tensor of one dimension")
    if logits_to_keep.is_floating_point() or logits_to_keep.is_complex():
        raise UsageError(f"logits_to_keep must be integers or booleans, not of {logits_to_keep.dtype}")
    index = logits_to_keep.cpu().numpy()
    try:
        kept: Integers = np.arange(columns)[index if index.dtype == np.bool_ else index.astype(np.int64)]
    except IndexError as error:
        raise UsageError(f"logits_to_keep asks for columns that input_ids doesn't have: {error}") from error
    return kept


def pick_states(
    states: Sequence[NDArray[np.float32]], real: Bools, kept: Integers
) -> tuple[NDArray[np.float32], Bools]:
    """Return the states of the `kept` columns in one array, row by row, and where they belong.

    `states` has, per row, those of its last real tokens, as many as `kept` needs; `real` is [rows, columns].
    The places are [rows, kept], true where a column is real.
    """
    places = real[:, kept]
    if len(states) == 1 and places.all() and len(states[0]) == len(kept) and (np.diff(kept) == 1).all():
        return states[0], places  # nothing is copied, for most steps
    parts = []
    for row, state in enumerate(states):
        from_the_end = real[row, ::-1].cumsum()[::-1]  # 1 for the last real column
        parts.append(state[len(state) - from_the_end[kept[places[row]]]])
    return np.concatenate(parts), places


def spread(scores: NDArray[np.float32], places: Bools) -> NDArray[np.float32]:
    """Put scores [places that are true, vocabulary] where they belong; zeros elsewhere."""
    if places.all():  # nothing is copied
        return scores.reshape(*places.shape, -1)
    logits = np.zeros((*places.shape, scores.shape[1]), dtype=np.float32)
    logits[places] = scores
    return logits


def sliding_window(config: Any) -> int | None:
    """Return the sliding window of a transformers config in tokens; None if every layer sees everything."""
    window: int | None = getattr(config, "sliding_window", None)
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None and "sliding_attention" not in layer_types:
        return None
    return window


def _mask(given: Any, shape: tuple[int, int]) -> Bools:
    if not isinstance(given, torch.Tensor):
        raise UsageError(f"attention_mask must be a tensor, not {_kind(given)}")
    if tuple(given.shape) != shape:
        raise UsageError(
            "attention_mask must have the shape [sequences, tokens] of all tokens so far, "
            f"{list(shape)}, not {list(given.shape)}"
        )
    real = given != 0
    if not (real == (given == 1)).all():
        raise UsageError(
            "attention_mask must be 1 where a token is real and 0 where padding is, nothing else"
        )
    return real.cpu().numpy()


def _kind(given: Any) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}".removeprefix("builtins.")
