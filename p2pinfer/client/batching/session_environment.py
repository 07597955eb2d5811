"""What all sessions of a model share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from p2pinfer.client.network import Network
from p2pinfer.client.patience import Patience
from p2pinfer.client.prefixes.names import Names
from p2pinfer.client.prefixes.prefix_index import PrefixIndex
from p2pinfer.model.ends import ClientEnds
from p2pinfer.model.layer_store.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """What is known of the prefixes that hops keep, and how they are named."""

    index: PrefixIndex
    names: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionEnvironment:
    """What all sessions of a model share."""

    network: Network
    manifest: Manifest
    ends: ClientEnds
    patience: Patience
    loop: asyncio.AbstractEventLoop
    """Where jobs are submitted, and told of news."""

    prefixes: Prefixes | None = None
    """What hops keep beyond the sessions; None: nothing."""

    reuses: bool = True
    """False: every text is computed from its first token."""
