"""Flags become one configuration; a wrong flag gets a message that says what was expected."""

from __future__ import annotations

import pytest

from p2pinfer.server.config import LEAST_RECEIPT_TOKENS, ServerConfig
from p2pinfer.server.door.admission import MAX_ROWS
from p2pinfer.types import Span


def test_the_least_a_person_types_is_a_model():
    config = ServerConfig.from_args(["model"])
    assert (config.model, config.initial_peers, config.layers) == ("model", (), None)


@pytest.mark.parametrize("flags", [[], ["--listen", "none"]])
def test_a_server_listens_in_every_network_that_the_machine_has(monkeypatch, flags):
    """libp2p ends at an address where it can't listen: one without IPv6 must not be asked to."""
    for has_ipv6, listen, dht_listen in (
        (True, "[::]:0", ("/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0")),
        (False, "0.0.0.0:0", ("/ip4/0.0.0.0/tcp/0",)),
    ):
        monkeypatch.setattr("p2pinfer.server.config.has_ipv6", lambda has_ipv6=has_ipv6: has_ipv6)
        config = ServerConfig.from_args(["model", *flags])
        assert config.listen == (None if flags else listen)
        assert config.dht_listen == dht_listen


def test_the_swarm_listens_where_the_data_plane_does():
    assert ServerConfig.from_args(["m", "--listen", "127.0.0.1:0"]).dht_listen == ("/ip4/127.0.0.1/tcp/0",)
    assert ServerConfig.from_args(["m", "--listen", "[::1]:0"]).dht_listen == ("/ip6/::1/tcp/0",)


def test_the_name_of_a_host_is_looked_up_to_listen_there():
    """libp2p listens on addresses only. IPv4 goes first: a container may lack IPv6."""
    config = ServerConfig.from_args(["m", "--listen", "localhost:0"])
    assert config.listen == "127.0.0.1:0"
    assert config.dht_listen == ("/ip4/127.0.0.1/tcp/0",)


def test_listening_nowhere_means_tunnel_only():
    assert ServerConfig.from_args(["m", "--listen", "none"]).listen is None


def test_what_is_announced_for_the_data_plane_holds_for_the_swarm_if_its_port_is_known():
    flags = ["m", "--announce", "car.example:31330", "--dht-listen", "/ip4/0.0.0.0/tcp/31331"]
    assert ServerConfig.from_args(flags).announced_maddrs == ("/dns/car.example/tcp/31331",)
    assert ServerConfig.from_args(flags[:3]).announced_maddrs == ()


def test_layers_are_given_as_a_span():
    assert ServerConfig.from_args(["m", "--layers", "10:20"]).layers == Span(10, 20)


def test_the_policy_says_how_long_leaving_may_take_unless_a_flag_does():
    assert ServerConfig.from_args(["m"]).drain_seconds is None
    assert ServerConfig.from_args(["m", "--drain-seconds", "0"]).drain_seconds == 0


def test_no_step_is_larger_than_what_may_be_unsigned():
    """With the largest number of rows, a decode step has a token of each."""
    assert LEAST_RECEIPT_TOKENS == MAX_ROWS
    assert ServerConfig.from_args(["m"]).receipt_tokens == 2048


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layers", "20:10"], "start < end"),
        (["--layers", "ten"], "START:END"),
        (["--layers", "0:1", "--num-layers", "2"], "not both"),
        (["--num-layers", "0"], "at least 1"),
        (["--listen", "here"], "HOST:PORT"),
        (["--listen", "127.0.0.1:99999"], "HOST:PORT with a port from 0 to 65535"),
        (["--announce", "car.example:0"], "HOST:PORT with a port from 1 to 65535"),
        (["--max-cache-tokens", "64"], "a whole number from 128 to"),
        (["--max-cache-tokens", "0"], "a whole number from 128 to"),
        (["--max-cache-tokens", "9999999999999999"], "a whole number from 128 to"),
        (["--threads", "1000"], "a whole number from 1 to 256"),
        (["--threads", "0"], "a whole number from 1 to 256"),
        (["--threads", "-1"], "a whole number from 1 to 256"),
        (["--public-name", "x" * 65], "at most 64 printable characters"),
        (["--region", "a\nb"], "at most 32 printable characters"),
        (["--announce", "car.example"], "HOST:PORT"),
        (["--idle-seconds", "nan"], "seconds from"),
        (["--drain-seconds", "-1"], "seconds from 0 to 3600"),
        (["--drain-seconds", "3601"], "seconds from 0 to 3600"),
        (["--drain-seconds", "nan"], "seconds from 0 to 3600"),
        (["--device", "tpu"], "invalid choice"),
    ],
)
def test_a_wrong_flag_is_answered_with_what_was_expected(flags, message, capsys):
    with pytest.raises(SystemExit) as exit_:
        ServerConfig.from_args(["m", *flags])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
