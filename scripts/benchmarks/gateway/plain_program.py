"""The plain client in a process of its own: answers a few questions, and says what memory that took.

    python -m scripts.benchmarks.gateway.plain_program PARAMETERS

Prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys

from p2pinfer.client.plain import PlainClient
from scripts.benchmarks.gateway.plan import question
from scripts.benchmarks.shared.resident_memory import children_peak_megabytes, peak_megabytes

_QUESTIONS = 4
_HEAVY = ("torch", "transformers")


def main() -> None:
    """Ask, and report."""
    parameters = json.loads(sys.argv[1])
    with PlainClient(parameters["store"], initial_peers=parameters["initial_peers"]) as client:
        for number in range(_QUESTIONS):
            client.generate([{"role": "user", "content": question(number)}], max_tokens=parameters["tokens"])
        peaks = {"own": peak_megabytes(os.getpid()), "children": children_peak_megabytes(os.getpid())}
    print(json.dumps(peaks | {"heavy": [name for name in _HEAVY if name in sys.modules]}))


if __name__ == "__main__":
    main()
