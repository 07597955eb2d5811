"""Which of the swarm's models a name means."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.sharing.naming.choice import MOST_LISTED, Chosen, choose_named, no_such_model
from p2pinfer.sharing.naming.known_models import KnownModel
from p2pinfer.sharing.naming.model_ref import ModelRef
from p2pinfer.swarm.records.listing import ModelListing

A, B, C = "a" * 64, "b" * 64, "c" * 64
SMOL = ModelListing(model=A, model_name="SmolLM2", num_layers=30)
TWIN = replace(SMOL, model=B)
QWEN = ModelListing(model=C, model_name="Qwen/Qwen2", num_layers=24)


def choose(
    text: str, *listings: ModelListing, servers: dict[str, int] | None = None, **known: str
) -> Chosen | None:
    """`known` are hashes by name; `/` in a name is `__`."""
    before = {
        name.replace("__", "/"): KnownModel(hash=model, first_seen=0.0, last_seen=86_400.0)
        for name, model in known.items()
    }
    return choose_named(ModelRef.parse(text), listings, before, servers=servers)


def test_a_name_that_one_model_has_means_that_model():
    assert choose("SmolLM2", SMOL, QWEN) == Chosen(listing=SMOL)
    assert choose("SmolLM2", SMOL, QWEN, SmolLM2=A) == Chosen(listing=SMOL)


@pytest.mark.parametrize("text", ["smollm2", "Smol", "Qwen", "2", f"SmolLM2@{B}", f"Qwen2@{A[:8]}", B])
def test_what_the_swarm_does_not_list_is_nothing(text: str):
    assert choose(text, SMOL, QWEN) is None


def test_the_name_of_a_hub_id_is_enough_where_nothing_else_is_called_so():
    assert choose("Qwen2", SMOL, QWEN) == Chosen(listing=QWEN, remark="Qwen2 is Qwen/Qwen2")
    assert choose("Qwen/Qwen2", SMOL, QWEN) == Chosen(listing=QWEN)


def test_a_stranger_cannot_put_a_model_before_one_of_the_hub():
    fake = replace(QWEN, model=A, model_name="Qwen2")
    with pytest.raises(UsageError, match="2 models of the swarm have the name Qwen2"):
        choose("Qwen2", QWEN, fake)
    with pytest.raises(UsageError):
        choose("Qwen2", QWEN, replace(fake, model_name="evil/Qwen2"))
    assert choose("Qwen/Qwen2", QWEN, fake) == Chosen(listing=QWEN)


def test_two_models_of_one_name_are_listed_as_commands_to_copy():
    with pytest.raises(UsageError) as raised:
        choose("SmolLM2", SMOL, TWIN, QWEN, servers={A: 1, B: 3})

    assert str(raised.value) == (
        "2 models of the swarm have the name SmolLM2. Say which one you mean:\n"
        "  SmolLM2@bbbbbbbbbbbbbbbb  (30 layers, 3 servers)\n"
        "  SmolLM2@aaaaaaaaaaaaaaaa  (30 layers, 1 server)"
    )


def test_of_two_models_the_remembered_one_is_taken_and_the_other_named():
    chosen = choose("SmolLM2", SMOL, TWIN, SmolLM2=A)

    assert chosen is not None
    assert (chosen.listing, chosen.is_warning) == (SMOL, False)
    assert "SmolLM2@bbbbbbbbbbbbbbbb" in chosen.remark
    assert "SmolLM2@aaaa" not in chosen.remark


def test_a_model_that_has_changed_is_taken_with_a_warning_that_says_how_to_check_it():
    chosen = choose("SmolLM2", TWIN, QWEN, SmolLM2=A)

    assert chosen is not None
    assert (chosen.listing, chosen.is_warning) == (TWIN, True)
    assert "until 1970-01-02 it was aaaaaaaaaaaaaaaa, now it is bbbbbbbbbbbbbbbb" in chosen.remark
    assert f"python -m p2pinfer.convert --verify {B} --source" in chosen.remark


def test_if_the_remembered_one_is_gone_and_there_are_several_the_user_says_which():
    with pytest.raises(UsageError, match="aaaaaaaaaaaaaaaa, isn't listed now"):
        choose("SmolLM2", TWIN, replace(SMOL, model=C), SmolLM2=A)


@pytest.mark.parametrize("digits", [B, B[:16], B[:8]])
def test_a_hash_decides_between_two(digits: str):
    assert choose(f"SmolLM2@{digits}", SMOL, TWIN) == Chosen(listing=TWIN)


def test_a_hash_decides_against_the_memory_without_alarm():
    chosen = choose(f"SmolLM2@{B[:16]}", SMOL, TWIN, SmolLM2=A)

    assert chosen is not None
    assert (chosen.listing, chosen.is_warning) == (TWIN, False)
    assert "this machine knew another model as SmolLM2, aaaaaaaaaaaaaaaa" in chosen.remark


def test_the_whole_hash_decides_whatever_strangers_call_the_model():
    assert choose(A, SMOL, TWIN) == Chosen(listing=SMOL)
    renamed = choose(f"Mistral@{A}", SMOL, TWIN)
    assert renamed == Chosen(listing=SMOL, remark="the swarm calls this model SmolLM2")
    assert choose(f"Mistral@{A[:16]}", SMOL, TWIN) is None


def test_a_hash_that_several_begin_with_is_refused_though_one_is_remembered():
    """Eight digits can be found by trying."""
    forged = replace(SMOL, model="a" * 60 + "0000")
    with pytest.raises(UsageError, match="2 models"):
        choose(f"SmolLM2@{A[:8]}", SMOL, forged, SmolLM2=A)


def test_a_model_called_like_the_hash_of_another_is_not_that_one():
    assert choose(A, replace(QWEN, model_name=A), SMOL) == Chosen(listing=SMOL)


def test_a_flood_of_listings_is_answered_soon_and_shortly():
    flood = [replace(SMOL, model=f"{number:064x}", model_name="SmolLM2") for number in range(50_000)]
    began = time.process_time()
    with pytest.raises(UsageError) as raised:
        choose("SmolLM2", *flood)

    assert time.process_time() - began < 4
    lines = str(raised.value).splitlines()
    assert len(lines) == 2 + MOST_LISTED
    assert lines[-1] == "  and 49,992 more"


def test_names_of_strangers_cannot_control_a_terminal_or_a_shell():
    nasty = "x'; rm -rf ~ \x1b[2J"
    with pytest.raises(UsageError) as raised:
        choose_named(
            ModelRef(name=nasty), [replace(SMOL, model_name=nasty), replace(TWIN, model_name=nasty)], {}
        )

    assert "\x1b" not in str(raised.value)
    assert f"  {A}  (" in str(raised.value)


def test_a_name_that_nothing_has_is_said_with_those_that_there_are():
    ref = ModelRef(name="nobody")
    assert no_such_model(ref, [SMOL]) == (
        f"the swarm serves no model nobody. It serves:\n  SmolLM2@{A[:16]}  (30 layers)"
    )
    assert no_such_model(ref, []) == "the swarm serves no model nobody, and no other one yet"
