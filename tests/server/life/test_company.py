"""A server that waits for clients that can't come says so."""

from __future__ import annotations

import dataclasses

from p2pinfer.identity import Identity
from p2pinfer.model.layer_store.origin import Origin
from p2pinfer.server.life.company import alone_with
from p2pinfer.swarm.records.listing import ModelListing
from tests.fakes import fake_manifest
from tests.swarm.conftest import describe

US = Identity.ephemeral()
MANIFEST = dataclasses.replace(fake_manifest(30), hash="a" * 64, name="SmolLM2")
SAME = ModelListing(model=MANIFEST.hash, model_name="SmolLM2", num_layers=30)
OTHER = ModelListing(model="b" * 64, model_name="Qwen2.5", num_layers=24)
TWIN = ModelListing(model="c" * 64, model_name="SmolLM2", num_layers=30)


def test_a_manifest_that_nobody_shares_is_said_with_those_that_there_are():
    words = alone_with(MANIFEST, US.peer_id, [], [OTHER])

    assert words == (
        "no other server of this swarm has manifest aaaaaaaaaaaa: only clients with this manifest can use "
        "this server. Other servers have Qwen2.5 (manifest bbbbbbbbbbbb, 24 layers)."
    )


def test_the_same_name_with_another_manifest_is_pointed_out():
    words = alone_with(MANIFEST, US.peer_id, [], [OTHER, TWIN])

    assert words is not None
    assert "The same name with another manifest: the weights" in words


def test_how_those_of_the_same_name_differ_is_said_as_far_as_it_is_known():
    manifest = dataclasses.replace(MANIFEST, origin=Origin(format="GGUF Q4_1"))
    origins = {
        TWIN.model: Origin(format="safetensors BF16", hub_id="hub/SmolLM2"),
        OTHER.model: Origin(format="GGUF Q8_0"),
    }
    words = alone_with(manifest, US.peer_id, [], [OTHER, TWIN], origins)

    assert words is not None
    assert words.endswith(
        "Other servers have SmolLM2 (manifest cccccccccccc, 30 layers), Qwen2.5 (manifest bbbbbbbbbbbb, 24 "
        "layers). cccccccccccc is from hub/SmolLM2 instead of local files, and made from safetensors BF16 "
        "instead of GGUF Q4_1."
    )


def test_a_hub_id_and_a_folder_of_its_name_are_taken_for_the_same_model():
    hub = dataclasses.replace(TWIN, model_name="hub/SmolLM2")
    words = alone_with(MANIFEST, US.peer_id, [], [hub])

    assert words is not None
    assert "cccccccccccc is called hub/SmolLM2 instead of SmolLM2." in words


def test_a_record_of_our_own_is_no_company():
    assert alone_with(MANIFEST, US.peer_id, [describe(US)], [SAME, OTHER]) is not None


def test_in_company_or_in_an_empty_swarm_there_is_nothing_to_say():
    assert alone_with(MANIFEST, US.peer_id, [describe(Identity.ephemeral())], [SAME, OTHER]) is None
    assert alone_with(MANIFEST, US.peer_id, [], []) is None
    assert alone_with(MANIFEST, US.peer_id, [describe(US)], [SAME]) is None


def test_of_many_manifests_some_are_listed():
    """Others choose the names: there may be thousands."""
    models = [dataclasses.replace(OTHER, model=f"{number:064x}") for number in range(1000)]
    words = alone_with(MANIFEST, US.peer_id, [], models)

    assert words is not None
    assert words.count("Qwen2.5") == 5 and ", and 995 more." in words
