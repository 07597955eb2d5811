"""The states of a server, as its owner sees them."""

from __future__ import annotations

from enum import StrEnum


class OwnerState(StrEnum):
    """The states of `python -m p2pinfer.server`, from its start to its end."""

    OFF = "off"  # the server doesn't run, or has no consent
    JOINING = "joining"  # the server joins the swarm and loads its layers
    SERVING = "serving"
    DRAINING = "draining"  # the server goes on while its sessions move to other servers
    PAUSED = "paused"  # out of the swarm and without a model, until the policy allows work
