"""The flags of the page, and the messages about wrong flags."""

from __future__ import annotations

import pytest

from p2pinfer.health.config import HealthConfig

PEER = "/ip4/192.0.2.7/tcp/4600/p2p/x"


def test_the_least_a_person_types_is_where_the_swarm_is():
    config = HealthConfig.from_args(["--initial-peers", PEER])
    assert (config.initial_peers, config.shown_addresses) == ((PEER,), (PEER,))
    assert (config.host, config.port, config.probe_models) == ("127.0.0.1", 8080, ())


def test_what_visitors_are_told_to_join_by_may_be_another_address():
    config = HealthConfig.from_args(
        ["--initial-peers", PEER, "--show-peers", "/dns/swarm.example/tcp/1/p2p/x"]
    )
    assert config.shown_addresses == ("/dns/swarm.example/tcp/1/p2p/x",)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "--initial-peers"),
        (["--initial-peers", PEER, "--port", "99999"], "from 0 to 65535"),
        (["--initial-peers", PEER, "--json"], "--once"),
        (["--initial-peers", PEER, "--probe-seconds", "1"], "from 5 to 86400"),
        (["--initial-peers", PEER, "--probe-tokens", "0"], "from 1 to 256"),
    ],
)
def test_a_wrong_flag_says_what_is_expected(flags, message, capsys):
    with pytest.raises(SystemExit) as ended:
        HealthConfig.from_args(flags)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
