"""Identities that are paid once on this machine, and kept for the next run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from p2pinfer.identity import Identity
from p2pinfer.local_swarm.paid_keys import PaidKeys, paid_keys_folder
from p2pinfer.price.paying import pay_now
from scripts.benchmarks.shared.report import say


@contextmanager
def paid_identities(number: int) -> Iterator[list[Identity]]:
    """So many that nobody else on this machine has meanwhile. Local swarms use the same ones."""
    with tempfile.TemporaryDirectory(prefix="p2pinfer-keys-") as own:
        keys = PaidKeys(paid_keys_folder(), Path(own), say)
        try:
            identities = [Identity.load_or_create(keys.take()) for _ in range(number)]
            for identity in identities:
                pay_now(identity)  # its proof is there
            yield identities
        finally:
            keys.close()
