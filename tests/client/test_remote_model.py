"""A remote model refuses wrong settings before it touches files or the network."""

from __future__ import annotations

import pytest

from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.errors import UsageError


def test_without_addresses_there_is_no_swarm_to_join(tmp_path):
    with pytest.raises(UsageError, match="initial_peers is empty"):
        RemoteModel.open(tmp_path / "no-model", initial_peers=[])


def test_an_unknown_wire_dtype_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match="wire_dtype='int4' is unknown: use float32 or int8"):
        RemoteModel.open(tmp_path / "no-model", initial_peers=["/ip4/192.0.2.7/tcp/1"], wire_dtype="int4")
