"""The client of bench_join, as a process on its own host: it joins by name, and says when it could generate.

`python -m scripts.benchmarks.join.client PARAMETERS`
"""

from __future__ import annotations

import json
import sys
import threading

from p2pinfer import AutoDistributedModelForCausalLM
from scripts.benchmarks.shared.speech import Speech, listen


def main() -> None:
    """Join, answer, and stay until the benchmark closes the pipe."""
    parameters = json.loads(sys.argv[1])
    speech = Speech()
    listen(lambda words: None)
    try:
        with AutoDistributedModelForCausalLM.from_pretrained(
            parameters["model"],
            initial_peers=parameters["initial_peers"],
            cache_folder=parameters["cache_folder"],
        ):
            speech.say(ready=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
