"""Whose texts may begin with what others have had computed. Plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Texts reuse only what texts of the same scope have left: in rows, and at servers.

    Otherwise the time of an answer would tell one user what another has asked.
    """

    name: str = ""
    is_shared: bool = False
    """True: `name` is a salt, and clients that know it share what servers keep. False: it's this client's."""


EVERYBODY = Scope()
"""All texts of a client that serves one user."""
