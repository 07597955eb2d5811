"""What a server is doing, as its owner sees it."""

from __future__ import annotations

from enum import StrEnum


class OwnerState(StrEnum):
    """From start to end of `python -m p2pinfer.server`."""

    OFF = "off"  # it doesn't run, or it has no consent
    JOINING = "joining"  # joins the swarm and loads its layers
    SERVING = "serving"
    DRAINING = "draining"  # serves on while its sessions move to others
    PAUSED = "paused"  # not in the swarm and without a model, until the policy says `run`
