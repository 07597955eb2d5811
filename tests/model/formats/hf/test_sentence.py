"""What the files of Sentence Transformers say, and what of it p2pinfer can do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from p2pinfer.model.formats.hf.sentence import read_pooling
from p2pinfer.model.pooling import Pooling

KINDS = ["Transformer", "Pooling", "Normalize"]


def modules(*kinds: str, path: Any = "1_Pooling") -> list[dict[str, Any]]:
    """modules.json."""
    return [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for number, kind in enumerate(kinds)
    ]


def files(listed: Any, described: Any) -> dict[str, bytes]:
    """A folder's small files; what is no bytes is written as JSON."""
    contents = {"modules.json": listed, "1_Pooling/config.json": described}
    return {
        name: content if isinstance(content, bytes) else json.dumps(content).encode()
        for name, content in contents.items()
        if content is not None
    }


LAST = {"word_embedding_dimension": 1024, "pooling_mode_cls_token": False, "pooling_mode_lasttoken": True}


@pytest.mark.parametrize(
    ("described", "mode"),
    [
        (LAST | {"include_prompt": True}, "last"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False}, "mean"),
        ({"pooling_mode_cls_token": True}, "first"),
        ({"embedding_dimension": 768, "pooling_mode": "lasttoken"}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
    ],
)
@pytest.mark.parametrize("is_normalized", [True, False])
def test_the_way_is_read_from_the_modules(described: Any, mode: Any, is_normalized: bool):
    kinds = KINDS if is_normalized else KINDS[:2]
    read = files(modules(*kinds), described).get

    assert read_pooling(read, {}) == (Pooling(mode=mode, is_normalized=is_normalized), None)


def test_a_model_without_the_files_is_no_embedding_model():
    assert read_pooling(files(None, None).get, {}) == (None, None)
    assert read_pooling(files(None, LAST).get, {}) == (None, None)


@pytest.mark.parametrize(
    ("listed", "described", "reason"),
    [
        (modules("Transformer", "Pooling", "Dense"), LAST, "lists Transformer, Pooling, Dense"),
        (modules("Transformer", "Normalize", "Pooling"), LAST, "lists Transformer, Normalize, Pooling"),
        (modules("CLIPModel"), LAST, "lists CLIPModel"),
        ([], LAST, "lists nothing"),
        ({"a": 5}, LAST, "lists nothing"),
        ([None, 5], LAST, "lists nothing"),
        (b"\xff{", LAST, "lists nothing"),
        (b"[" * 100_000, LAST, "lists nothing"),
        (modules(*KINDS, path="../../etc"), LAST, "names no folder"),
        (modules(*KINDS, path=".."), LAST, "names no folder"),
        (modules(*KINDS, path=""), LAST, "names no folder"),
        (modules(*KINDS, path=None), LAST, "names no folder"),
        (modules(*KINDS), None, "names no way of pooling"),
        (modules(*KINDS), b"{", "names no way of pooling"),
        (modules(*KINDS), [], "names no way of pooling"),
        (modules(*KINDS), {}, "names no way of pooling"),
        (modules(*KINDS), LAST | {"pooling_mode_max_tokens": True}, "names no way of pooling"),
        (modules(*KINDS), {"pooling_mode_max_tokens": True}, "names no way of pooling"),
        (modules(*KINDS), {"pooling_mode": ["mean", "cls"]}, "names no way of pooling"),
        (modules(*KINDS), {"pooling_mode": "max"}, "names no way of pooling"),
    ],
)
def test_what_p2pinfer_cannot_do_is_said_and_not_guessed(listed: Any, described: Any, reason: str):
    pooling, refusal = read_pooling(files(listed, described).get, {})

    assert pooling is None
    assert refusal is not None
    assert refusal.startswith("embeddings of this model can't be served: ")
    assert reason in refusal


@pytest.mark.parametrize("config", [{"use_bidirectional_attention": True}, {"is_causal": False}])
def test_a_model_whose_tokens_see_later_ones_is_refused(config: dict[str, Any]):
    """The decoder layers compute causal attention only."""
    pooling, refusal = read_pooling(files(modules(*KINDS), LAST).get, config)

    assert (pooling, refusal) == (
        None,
        "embeddings of this model can't be served: its tokens attend to later ones",
    )
