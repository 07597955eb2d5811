"""What the sampler needs of a grammar."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Constraint(Protocol):
    """What the answer of one row may be: a grammar's state. One thread at a time."""

    def allowed(self) -> NDArray[np.bool_] | None:
        """Which tokens may come next, [vocab_size]; None: any. It is valid until `accept`.

        End tokens are among them where the text may end.
        """

    def accept(self, token: int) -> None:
        """Take a token that was allowed. The token that ends the answer is not told."""

    @property
    def is_done(self) -> bool:
        """True if nothing may follow but the end of the text."""
