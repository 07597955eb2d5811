"""A contender: a process that loads once, and works when it is asked.

`python -m scripts.benchmarks.contenders.program KIND PARAMETERS` prints a line when it is ready. Then it
reads requests, lines of JSON such as `{"work": "decode", "prompts": [[1, 2]], "tokens": 64}`, and answers
each with a line of JSON. Contenders stay alive so that they can take turns: a machine that slows down for a
minute slows all of them. turns.py is the other side.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

KINDS = ("engine", "llama.documents", "llama.streams", "memory", "swarm", "texts", "transformers")
"""Modules of this folder by name. Each has `load(**parameters)`, which returns functions by the name of their
work; the request's other fields are a function's arguments."""


def main() -> None:
    """Load the contender, then do the work that each line asks for."""
    kind, parameters = sys.argv[1], json.loads(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # output of libraries must not mix with the answers
    works = importlib.import_module(f"{__package__}.{kind}").load(**parameters)
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(works[request.pop("work")](**request)), file=answers)


if __name__ == "__main__":
    main()
