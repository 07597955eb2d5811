"""from_pretrained answers a newcomer's mistakes in a sentence, before it touches files or the network."""

from __future__ import annotations

import pytest

import p2pinfer
from p2pinfer import AutoDistributedModelForCausalLM
from p2pinfer.client.arguments.loading import peers
from p2pinfer.errors import UsageError

ONE = "/ip4/192.0.2.7/tcp/31330/p2p/12D3KooWOne"
TWO = "/ip6/2001:db8::1/tcp/31330/p2p/12D3KooWTwo"


@pytest.mark.parametrize(
    "given",
    [
        [ONE, TWO],
        (ONE, TWO),
        f"{ONE} {TWO}",
        f"{ONE},{TWO}",
        f"{ONE}\n{TWO}\n",
        f"join this swarm: --initial-peers {ONE} {TWO}",
        [f"{ONE} {TWO}"],
        iter([ONE, TWO]),
    ],
)
def test_peers_are_a_list_or_the_text_that_a_server_has_printed(given):
    assert peers(given) == (ONE, TWO)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "there is no public swarm"),
        ([], "initial_peers is empty"),
        ("", "initial_peers is empty"),
        ([" "], "initial_peers is empty"),
        (7, "must be addresses, not int"),
        ([7], "must be addresses, not int"),
        ([None], "must be addresses, not NoneType"),
        ("192.0.2.7:31330", "isn't a peer's address"),
        ("/ip4/192.0.2.7/tcp/31330", "the peer id is missing"),
    ],
)
def test_peers_that_are_none_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        AutoDistributedModelForCausalLM.from_pretrained("model", initial_peers=given)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"torch_dtype": "auto"}, "torch_dtype: this computer runs no layers"),
        ({"device_map": "auto"}, "device_map: this computer runs no layers"),
        ({"revision": "main"}, "revision: download the model yourself"),
        ({"pre_seq_len": 16}, "pre_seq_len: adapters and prompt tuning"),
        ({"inital_peers": [ONE]}, r"inital_peers: is initial_peers meant\?"),
        ({"time_out": 3}, r"time_out: is timeout meant\?"),
        ({"xyz": 3}, "xyz: it takes model, initial_peers, cache_folder"),
        (
            {"pretrained_model_name_or_path": "x"},
            "pretrained_model_name_or_path: give the model as the first argument",
        ),
    ],
)
def test_an_argument_that_there_is_not_is_refused_by_name(arguments, message):
    with pytest.raises(UsageError, match=f"from_pretrained has no argument {message}"):
        AutoDistributedModelForCausalLM.from_pretrained("model", initial_peers=[ONE], **arguments)


@pytest.mark.parametrize(("model", "message"), [(None, "needs a model"), (7, "not int"), (b"x", "not bytes")])
def test_a_model_that_is_no_name_is_refused(model, message):
    with pytest.raises(UsageError, match=message):
        AutoDistributedModelForCausalLM.from_pretrained(model, initial_peers=[ONE])
    with pytest.raises(UsageError, match="needs a model"):
        AutoDistributedModelForCausalLM.from_pretrained()


@pytest.mark.parametrize(
    "name", ["DistributedLlamaForCausalLM", "AutoDistributedSpeculativeModel", "RemoteSequential"]
)
def test_importing_a_class_of_petals_says_what_to_import(name):
    with pytest.raises(ImportError, match=r"AutoDistributedModelForCausalLM\.from_pretrained"):
        exec(f"from p2pinfer import {name}")


def test_other_names_that_there_are_not_are_attribute_errors():
    assert not hasattr(p2pinfer, "nonsense")


@pytest.mark.parametrize("name", ["timeout", "step_timeout", "join_timeout"])
@pytest.mark.parametrize("value", [None, "60", -1, float("nan")])
def test_a_limit_that_is_no_number_of_seconds_is_refused(name, value):
    with pytest.raises(UsageError, match=f"{name} must be a number of seconds"):
        AutoDistributedModelForCausalLM.from_pretrained("model", initial_peers=[ONE], **{name: value})


def test_what_routes_are_chosen_for_is_one_of_two_words():
    with pytest.raises(UsageError, match='routing=\'fast\' is unknown: use "latency" or "throughput"'):
        AutoDistributedModelForCausalLM.from_pretrained("model", initial_peers=[ONE], routing="fast")
