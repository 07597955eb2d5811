"""A source is as much as one line gets cheaply."""

from __future__ import annotations

import pytest

from p2pinfer.fairness.sources import source_of


@pytest.mark.parametrize(
    ("host", "source"),
    [
        pytest.param("203.0.113.7", "203.0.113.0/24", id="ipv4"),
        pytest.param("::ffff:203.0.113.7", "203.0.113.0/24", id="ipv4 inside ipv6"),
        pytest.param("2001:db8:7:ffff::1", "2001:db8:7::/48", id="ipv6"),
        pytest.param("fe80::1%eth0", "fe80::/48", id="with a zone"),
        pytest.param("127.3.2.1", "127.3.2.0/24", id="loopback"),
        pytest.param("peer 12D3", "peer 12D3", id="no address"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_addresses_that_one_line_gets_together_are_one_source(host, source):
    assert source_of(host) == source
