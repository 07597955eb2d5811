"""What people write for a model of the swarm."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.sharing.naming.model_ref import ModelRef, is_path, words_to_copy

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "name", "prefix"),
    [
        ("SmolLM2-135M", "SmolLM2-135M", None),
        ("Qwen/Qwen2.5-1.5B", "Qwen/Qwen2.5-1.5B", None),
        (f"Qwen/Qwen2.5-1.5B@{HASH[:16]}", "Qwen/Qwen2.5-1.5B", HASH[:16]),
        (f"SmolLM2@{HASH}", "SmolLM2", HASH),
        (f"me@home@{HASH[:8]}", "me@home", HASH[:8]),
        (HASH, None, HASH),
        (HASH[:63], HASH[:63], None),  # a name, for all that is known
        ("名前", "名前", None),
    ],
)
def test_a_name_a_hash_or_both(text: str, name: str | None, prefix: str | None):
    ref = ModelRef.parse(text)

    assert ref == ModelRef(name=name, hash_prefix=prefix)
    assert str(ref) == text


@pytest.mark.parametrize(
    "text", ["/models/x", "./x", "../x", "~/x", ".", "..", "x/", "a/b/c", "x.gguf", "X.GGUF"]
)
def test_a_path_is_no_name(text: str):
    assert is_path(text)
    with pytest.raises(UsageError, match="is a path"):
        ModelRef.parse(text)


@pytest.mark.parametrize("text", ["name", "org/name", f"org/name@{HASH}", HASH, "v1.5"])
def test_names_and_hub_ids_are_no_paths(text: str):
    assert not is_path(text)


@pytest.mark.parametrize("digits", ["", "0123456", "0123456G", "ABCDEF01", "main", HASH + "0", "01234567 "])
def test_what_is_no_hash_is_named(digits: str):
    with pytest.raises(UsageError, match="isn't the hash of a model"):
        ModelRef.parse(f"name@{digits}")


@pytest.mark.parametrize("text", ["", " ", " name", "name ", "na\nme", "\x1b[2J", f"@{HASH}", "x" * 129])
def test_what_no_model_can_be_called_is_refused_and_shown_harmless(text: str):
    with pytest.raises(UsageError) as raised:
        ModelRef.parse(text)

    assert str(raised.value).isprintable()


@given(st.text(max_size=128), st.text("0123456789abcdef", min_size=64, max_size=64))
def test_what_is_offered_to_copy_means_that_model_in_any_shell(name: str, model: str):
    (word,) = shlex.split(words_to_copy(name, model))
    ref = ModelRef.parse(word)

    assert ref.name in (name, None)
    assert model.startswith(ref.hash_prefix or "?")
    assert not word.startswith("-")
