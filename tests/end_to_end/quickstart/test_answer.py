"""The README's first command: real processes, the real small model, and no process left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from p2pinfer.model.layer_store.store import LayerStore
from tests.end_to_end.quickstart.demo import LONG_ENOUGH_SECONDS, ROOT, Demo


def test_three_peers_answer_and_nothing_is_left_behind(smollm2: LayerStore):
    """The answer streams, the route has three hops, the speed is printed, and every process has ended."""
    with Demo("--max-new-tokens", "16") as demo:
        assert demo.finish() == 0, demo.output

    assert "The capital of Germany is Berlin." in demo.output
    hops = re.findall(r"peer …\w{6}  layers +(\d+:\d+) +\d+\.\d\d ms per token", demo.output)
    assert hops == ["0:10", "10:20", "20:30"]
    assert re.search(r"\d+ tokens, the first after \d+\.\d\d s, then \d+\.\d tokens/s", demo.output)
    assert demo.left_behind() == []


@pytest.mark.parametrize(
    ("moment", "number", "status"),
    [
        ("starting 3 peers", signal.SIGTERM, 143),
        ("ready after", signal.SIGINT, 130),
        ("story.\n\n", signal.SIGINT, 130),
    ],
)
def test_a_signal_at_any_moment_ends_every_process(
    smollm2: LayerStore, moment: str, number: signal.Signals, status: int
):
    """Interrupts come while servers start, when some are ready, and in the middle of the answer."""
    with Demo("--max-new-tokens", "1500", "--prompt", "Tell me a long story.") as demo:
        demo.read_until(lambda output: moment in output and not output.endswith(moment))
        demo.process.send_signal(number)
        assert demo.finish() == status, demo.output

    assert "Traceback" not in demo.output
    assert demo.left_behind() == []


def test_a_kept_swarm_is_joined_as_printed_and_ends_on_ctrl_c(smollm2: LayerStore):
    """`--keep` prints a client program; run without changes, it generates."""
    with Demo("--keep", "--max-new-tokens", "4") as demo:
        demo.read_until(lambda output: "print(model.tokenizer.decode" in output and output.endswith("\n\n"))
        program = demo.output.partition("as a client")[2].partition("\n")[2]
        client = subprocess.run(
            [sys.executable, "-c", re.sub(r"^  ", "", program, flags=re.MULTILINE)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=LONG_ENOUGH_SECONDS,
            check=False,
        )
        demo.process.send_signal(signal.SIGINT)
        assert demo.finish() == 130, demo.output

    assert "The capital of France is" in client.stdout, client.stderr
    assert demo.left_behind() == []


def test_more_peers_than_layers_is_one_line(smollm2: LayerStore):
    """The message says what is wrong and which numbers work; no server is started."""
    with Demo("--peers", "50") as demo:
        assert demo.finish() == 1

    assert demo.output.splitlines()[-1] == (
        "p2pinfer.local_swarm: 30 layers can't be shared among 50 peers: choose 1 to 30"
    )


def test_a_server_that_cannot_start_is_shown_with_its_own_words(smollm2: LayerStore, tmp_path: Path):
    """One layer file of the store is altered: its server reports that, and the demo prints the report."""
    store = tmp_path / "store"
    shutil.copytree(smollm2.folder, store, copy_function=os.link)
    altered = store / "layers" / "00012.safetensors"
    content = bytearray(altered.read_bytes())
    content[-1] ^= 1
    altered.unlink()
    altered.write_bytes(content)
    with Demo("--model", str(store)) as demo:
        assert demo.finish() == 1

    assert "p2pinfer.local_swarm: the server of layers 10:20 ended" in demo.output
    assert "00012.safetensors" in demo.output
    assert "Traceback" not in demo.output
    assert demo.left_behind() == []
