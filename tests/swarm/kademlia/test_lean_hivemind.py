"""hivemind is imported without torch, and is complete when more of it is used."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_the_swarm_needs_no_torch() -> None:
    program = "import sys, p2pinfer.swarm.tunnel, p2pinfer.swarm.swarm; print('torch' in sys.modules)"

    assert run(program) == "False\n"


def test_the_rest_of_hivemind_is_there_when_asked_for() -> None:
    program = (
        "import p2pinfer.swarm.swarm\nfrom hivemind import DHT\n"
        "from hivemind.utils import nested_flatten\nprint(DHT.__name__)"
    )

    assert run(program) == "DHT\n"
