"""The prefixes that a server keeps, and which of them go when memory is short. For the computing thread.

They take what no session has leased, and give it back as soon as one leases it: the event loop tells the
store what is left before the session's first step can come. A token counts like a leased one, in whole pages
and times the layers: that includes the outputs that a hop keeps for the next one (compute/budget.py).
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable

from p2pinfer.model.engine.base import SequenceCache
from p2pinfer.server.prefixes.kept import KeptPrefix, PrefixKey
from p2pinfer.types import Span

MAX_PREFIXES = 1024
MAX_CLIENT_PREFIXES = 256
UNUSED_SECONDS = 3600.0
"""A prefix that no session has recalled for so long is dropped."""


class PrefixStore:
    """Who keeps most loses first, and of that what was used least recently."""

    def __init__(
        self,
        new_cache: Callable[[Span], SequenceCache],
        *,
        page_tokens: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep nothing until `set_limit` says that there is room."""
        self._new_cache = new_cache
        self._page_tokens = page_tokens
        self._now = now
        self._limit = 0
        self._kept: OrderedDict[PrefixKey, KeptPrefix] = OrderedDict()  # the least recently used first
        self._taken: Counter[bytes] = Counter()  # layer-tokens by client, of all whose memory is not free yet
        self._counts: Counter[bytes] = Counter()  # entries of `_kept` by client

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def layer_tokens(self) -> int:
        """What all of them take of the server's cache."""
        return self._taken.total()

    def set_limit(self, layer_tokens: int) -> None:
        """Take no more than this from now on."""
        self._limit = layer_tokens
        self._make_room(0)

    def find(self, key: PrefixKey, tokens: int) -> KeptPrefix | None:
        """Begin to copy the first tokens of a prefix; call `release` afterwards. None: it isn't here."""
        kept = self._kept.get(key)
        if kept is None or kept.tokens < tokens:
            return None
        kept.used_at = self._now()
        kept.users += 1
        self._kept.move_to_end(key)
        return kept

    def has(self, key: PrefixKey, tokens: int) -> bool:
        """True if a prefix of so many tokens is here. Then it counts as used."""
        kept = self._kept.get(key)
        if kept is None or kept.tokens != tokens:
            return False
        kept.used_at = self._now()
        self._kept.move_to_end(key)
        return True

    def begin(self, key: PrefixKey, client: bytes, tokens: int) -> KeptPrefix | None:
        """Take memory for a prefix, whose tokens the caller brings; call `add` or `release` afterwards.

        None: there is no room for it, or another client has kept something else under the shared name.
        """
        former = self._kept.get(key)
        if former is not None:
            if former.client != client:
                return None
            self._drop(former)
        pages = -(-tokens // self._page_tokens)
        layer_tokens = pages * self._page_tokens * len(key.layers)
        if layer_tokens > self._limit or not self._make_room(layer_tokens):
            return None
        try:
            cache = self._new_cache(key.layers)
        except MemoryError:
            return None
        self._taken[client] += layer_tokens
        return KeptPrefix(
            key=key,
            client=client,
            tokens=tokens,
            cache=cache,
            layer_tokens=layer_tokens,
            used_at=self._now(),
            users=1,
            is_wanted=False,
        )

    def add(self, kept: KeptPrefix) -> None:
        """Its tokens are there: from now on it is found, unless its room was given away meanwhile."""
        if kept.key in self._kept:  # two sessions have kept the same at the same time
            self.release(kept)
            return
        while self._counts[kept.client] >= MAX_CLIENT_PREFIXES:
            self._drop(next(one for one in self._kept.values() if one.client == kept.client))
        while len(self._kept) >= MAX_PREFIXES:
            self._drop(next(iter(self._kept.values())))
        kept.is_wanted = True
        self._kept[kept.key] = kept
        self._counts[kept.client] += 1
        self.release(kept)

    def release(self, kept: KeptPrefix) -> None:
        """A copy from it, or to it, is done or given up."""
        kept.users -= 1
        self._free(kept)
        self._make_room(0)  # the limit may have shrunk meanwhile

    def expire(self) -> None:
        """Drop what nobody has recalled for an hour."""
        oldest = self._now() - UNUSED_SECONDS
        for kept in [one for one in self._kept.values() if one.used_at < oldest]:
            self._drop(kept)

    def clear(self) -> None:
        """Drop everything: the layers are about to go."""
        self._limit = 0
        for kept in list(self._kept.values()):
            self._drop(kept)

    def _make_room(self, layer_tokens: int) -> bool:
        """Drop prefixes until so many layer-tokens more fit. False: those in use take too much."""
        while self.layer_tokens + layer_tokens > self._limit:
            victim = self._victim()
            if victim is None:
                return False
            self._drop(victim)
        return True

    def _victim(self) -> KeptPrefix | None:
        """The least recently used prefix of the client that keeps most, of those that nobody copies now."""
        for client, _ in self._taken.most_common():
            for kept in self._kept.values():
                if kept.client == client and not kept.users:
                    return kept
        return None

    def _drop(self, kept: KeptPrefix) -> None:
        del self._kept[kept.key]
        self._counts[kept.client] -= 1
        kept.is_wanted = False
        self._free(kept)

    def _free(self, kept: KeptPrefix) -> None:
        """Give its memory back if nobody wants it or copies it."""
        if kept.users or kept.is_wanted:
            return
        kept.cache.release()
        kept.outputs = None
        self._taken -= Counter({kept.client: kept.layer_tokens})  # keeps no zeros
