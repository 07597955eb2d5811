"""The names that prefixes are kept under: only who has the key can make them, and they tell nothing. Pure.

A name stands for everything that the bytes at a hop depend on: the model, the numerics class, the tokens;
and, where activations are rounded on the way, the layers at which the route is cut. The servers add the
layers and the dtype of the wire, which they know.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from p2pinfer.client.prefixes.scope import Scope
from p2pinfer.identity import Identity
from p2pinfer.types import Span
from p2pinfer.wire import inference_pb2 as pb

_OWN = b"p2pinfer prefix names 1"
_SHARED = b"p2pinfer shared prefix names 1\0"


@dataclass(frozen=True, slots=True)
class Route:
    """What of a route a name depends on."""

    numerics: str
    cuts: tuple[Span, ...]
    """The layers of each hop."""


class Names:
    """Makes the names of one client's texts, for one model."""

    def __init__(self, identity: Identity, *, model: str, wire_dtype: pb.WireDtype) -> None:
        """The same identity makes the same names, in another process too."""
        self._own_key = identity.derived_key(_OWN)
        self._model = model
        self._wire_dtype = wire_dtype

    def name(self, tokens: Sequence[int], scope: Scope, route: Route) -> bytes:
        """The name of these tokens: HMAC-SHA256, 32 bytes."""
        rounds = self._wire_dtype != pb.FLOAT32
        about = [
            self._model,
            route.numerics,
            int(self._wire_dtype),
            [[span.start, span.end] for span in route.cuts] if rounds else [],
            "" if scope.is_shared else scope.name,
        ]
        head = json.dumps(about).encode()
        message = len(head).to_bytes(4, "little") + head + np.asarray(tokens, "<u4").tobytes()
        return hmac.digest(self._key(scope), message, "sha256")

    def _key(self, scope: Scope) -> bytes:
        if scope.is_shared:
            return hashlib.sha256(_SHARED + scope.name.encode("utf-8", "surrogatepass")).digest()
        return self._own_key
