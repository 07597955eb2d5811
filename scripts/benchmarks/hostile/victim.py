"""A client that asks for two tokens, and shows an error as programs do: on standard error.

`python -m scripts.benchmarks.hostile.victim PARAMETERS`
"""

from __future__ import annotations

import json
import logging
import sys

from p2pinfer.client.patience import Patience
from p2pinfer.client.remote_model import RemoteModel
from p2pinfer.errors import P2PInferError

_ROUTE_SECONDS = 6.0


def main() -> int:
    """Ask, and show what comes."""
    parameters = json.loads(sys.argv[1])
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    logging.getLogger("p2pinfer").setLevel(logging.DEBUG)
    try:
        with RemoteModel.open(
            parameters["store"],
            initial_peers=parameters["initial_peers"],
            patience=Patience(route=_ROUTE_SECONDS),
        ) as remote:
            with remote.session(16) as session:
                session.compute([[1, 2, 3]], [1])
    except P2PInferError as error:
        print(f"victim: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
