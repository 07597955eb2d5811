"""A car drives off in the middle of an answer, and is plugged in again later.

There are four servers for three stages. The middle stage is served by two cars, each with its owner's policy
and with signals from a real MQTT broker in the format that TeslaMate publishes. A client generates; the car
in use shifts to D. The text must be that of an undisturbed run. The car must drain, say why, and get a
receipt for its work. Back in P and plugged in, it must serve again by itself. Prints the seconds that each
step took, medians of several rounds. Ends with status 1 if a check failed.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from p2pinfer.errors import P2PInferError
from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.server_process import ServerProcess
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.source import open_model
from p2pinfer.types import PeerId, Span, short_id
from scripts.benchmarks.owner.mqtt_broker import Broker, running_broker
from scripts.benchmarks.shared.flags import at_least
from scripts.benchmarks.shared.program import status_of
from scripts.benchmarks.shared.report import Spread, machine, say, write_json

SPANS = [Span(0, 10), Span(10, 20), Span(20, 30), Span(10, 20)]
CARS = {1: 1, 3: 2}
"""TeslaMate's number of a car, by its server's index."""

PROMPT = "Once upon a time there was a car that wanted to"
TOKENS = 160
SECONDS = 60.0
"""The time limit of every wait: a wait ends much sooner, or something is wrong."""

_LOOK_SECONDS = 0.005

POLICY = """\
version = 1
[when]
parked = true
plugged_in = true
battery_floor_percent = 50
[mqtt]
host = "127.0.0.1"
port = {port}
[signals]
parked = {{ mqtt = "teslamate/cars/{car}/shift_state", true_when = ["P"], called = "gear" }}
plugged_in = {{ mqtt = "teslamate/cars/{car}/plugged_in" }}
battery_percent = {{ mqtt = "teslamate/cars/{car}/battery_level" }}
"""


class WrongError(P2PInferError):
    """A check of the benchmark failed."""


def topics(car: int, **values: str) -> dict[str, str]:
    """The values that TeslaMate publishes about a car."""
    return {f"teslamate/cars/{car}/{name}": value for name, value in values.items()}


def parked(car: int) -> dict[str, str]:
    """Values of a car at home, in P, plugged in."""
    return topics(car, shift_state="P", plugged_in="true", battery_level="81")


def driven(car: int) -> dict[str, str]:
    """Values of a car whose owner has unplugged it and shifts."""
    # The gear first: a server without sessions has paused, for the first reason, before the second comes.
    return topics(car, shift_state="D", plugged_in="false")


def run_owner(data_folder: Path, *arguments: str) -> str:
    """The output of `python -m p2pinfer.owner`. Raises WrongError if it ends with another status than 0."""
    command = [sys.executable, "-m", "p2pinfer.owner", "--data-folder", str(data_folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongError(f"owner {arguments[0]} ended with status {done.returncode}: {done.stderr.strip()}")
    return done.stdout


class Scene:
    """The swarm, the cars and the household's broker."""

    def __init__(self, swarm: LocalSwarm, broker: Broker) -> None:
        self.swarm = swarm
        self.broker = broker

    @classmethod
    def of(cls, swarm: LocalSwarm, broker: Broker, model: str) -> Scene:
        """Start four servers; two of them are cars that stand at home."""
        for index, car in CARS.items():
            broker.publish(parked(car))
            folder = swarm.data_folder(index)
            folder.mkdir()
            (folder / "policy.toml").write_text(POLICY.format(port=broker.port, car=car))
        swarm.start(model, SPANS, threads=1)
        return cls(swarm, broker)

    def index_of(self, peer_id: PeerId) -> int:
        """The index of the server with this peer id."""
        return self.swarm.peer_ids.index(peer_id)

    def owner(self, index: int, *arguments: str) -> str:
        """The JSON output of `python -m p2pinfer.owner` for the owner of a server."""
        return run_owner(self.swarm.data_folder(index), *arguments)

    def status(self, index: int) -> dict[str, Any]:
        """A server's status."""
        [status] = json.loads(self.owner(index, "status", "--json"))
        assert isinstance(status, dict)
        return status


class Watch:
    """Reads a server's lines in a thread, and notes when each was printed. A context manager."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self._skip = len(server.lines)
        self._heard: list[tuple[str, float]] = []
        self._asked = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def wait(self, prefix: str) -> tuple[str, float]:
        """The next line with this prefix, and when it came. Raises WrongError if none comes."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for number, (line, at) in enumerate(self._heard[self._asked :], self._asked):
                if line.startswith(prefix):
                    self._asked = number + 1
                    return line, at
            time.sleep(_LOOK_SECONDS)
        raise WrongError(
            f"no line {prefix!r} within {SECONDS:.0f} s; the last ones: {self._server.lines[-5:]}"
        )

    def _look(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            fresh = self._server.lines[self._skip + len(self._heard) :]
            self._heard += [(line, time.monotonic()) for line in fresh]


def play_round(scene: Scene, generate: Callable[..., Any], undisturbed: list[int]) -> dict[str, Any]:
    """Drive the car in use off in mid-answer, and bring it back."""
    gaps: list[float] = []
    drove: dict[str, Any] = {}
    last = time.monotonic()

    def on_token(number: int, middle: PeerId) -> None:
        nonlocal last
        now = time.monotonic()
        gaps.append(now - last)
        last = now
        if number == TOKENS // 2:
            index = scene.index_of(middle)
            drove.update(index=index, watch=Watch(scene.swarm.servers[index]), at=time.monotonic())
            scene.broker.publish(driven(CARS[index]))

    tokens, replaced = generate(on_token)
    if not drove:
        raise WrongError("the answer was over before the car could leave")
    index, car = drove["index"], CARS[drove["index"]]
    if tokens != undisturbed:
        raise WrongError("the text is not the one of an undisturbed run")
    if replaced != 1:
        raise WrongError(f"{replaced} hops were replaced, and not one")
    _, began = drove["watch"].wait("draining:")
    said, paused = drove["watch"].wait("paused:")
    status = scene.status(index)
    if status["state"] != "paused" or "gear is D" not in status["words"] or "gear is D" not in said:
        raise WrongError(f"the car's status doesn't say why it stopped: {status['words']!r}")
    back = time.monotonic()
    scene.broker.publish(parked(car))
    _, rejoined = drove["watch"].wait("ready:")
    drove["watch"].close()
    return {
        "signal_to_draining": began - drove["at"],
        "signal_to_drained": paused - drove["at"],
        "signal_to_rejoined": rejoined - back,
        "longest_gap": max(gaps[TOKENS // 2 :]),
        "median_gap": sorted(gaps)[len(gaps) // 2],
        "peer": short_id(scene.swarm.peer_ids[index]),
        "words": status["words"],
        "index": index,
    }


def measure(rounds: int, folder: Path) -> dict[str, Any]:
    """Run the benchmark and return everything that is printed."""
    # Imported here: they load torch, which takes seconds that --help doesn't need.
    import torch
    from transformers import AutoTokenizer

    from p2pinfer import AutoDistributedModelForCausalLM

    torch.set_num_threads(1)
    cache = user_cache_folder()
    model_file = fetch_model_file(SMOLLM2, cache, progress=say)
    model_folder = str(open_model(str(model_file), cache_folder=cache, progress=say).folder)
    with running_broker(folder) as broker, LocalSwarm() as swarm:
        say(f"{broker.name} listens at port {broker.port}; starting four servers")
        scene = Scene.of(swarm, broker, model_folder)
        tokenizer = AutoTokenizer.from_pretrained(model_folder)
        ids = tokenizer(PROMPT, return_tensors="pt").input_ids
        sponsor = folder / "sponsor.key"
        with AutoDistributedModelForCausalLM.from_pretrained(
            model_folder, initial_peers=swarm.initial_peers, identity=sponsor
        ) as model:

            def generate(on_token: Callable[[int, PeerId], None]) -> tuple[list[int], int]:
                count = 0
                with model.inference_session(max_length=512) as session:

                    def hear(input_ids: Any, scores: Any, **_: Any) -> bool:
                        nonlocal count
                        count += 1
                        on_token(count, session.report()[1].peer_id)
                        return False

                    out = model.generate(
                        ids,
                        max_new_tokens=TOKENS,
                        do_sample=False,
                        eos_token_id=None,
                        stopping_criteria=[hear],
                    )
                    return out[0].tolist(), session.replaced_hops

            undisturbed, _ = generate(lambda number, middle: None)
            results = []
            for number in range(rounds):
                results.append(play_round(scene, generate, undisturbed))
                say(f"round {number + 1}: {results[-1]['peer']} left ({results[-1]['words']}) and came back")
        index = results[0]["index"]
        statement = scene.owner(index, "statement")
        signed = signed_layer_tokens(scene, index)
        bundle = folder / "receipts.txt"
        scene.owner(index, "export", "--out", str(bundle))
        redeemed = run_owner(folder, "redeem", str(bundle), "--identity", str(sponsor))
    return {
        "machine": machine(),
        "broker": broker.name,
        "rounds": results,
        "statement": statement,
        "signed_layer_tokens": signed,
        "redeemed": redeemed,
    }


def signed_layer_tokens(scene: Scene, index: int) -> int:
    """The layer-tokens that the car's statement says clients have signed for."""
    rows = csv.DictReader(scene.owner(index, "statement", "--csv").splitlines())
    return sum(int(row[name]) for row in rows for name in row if name.endswith("layer_tokens_signed"))


def table(measured: dict[str, Any]) -> str:
    """The lines of the table."""
    lines = [
        f"a car leaves in mid-answer and comes back, {len(measured['rounds'])} rounds, {measured['broker']}"
    ]
    for name, title in (
        ("signal_to_draining", "from D at the broker to draining"),
        ("signal_to_drained", "from D at the broker to paused, without sessions"),
        ("signal_to_rejoined", "from P at the broker to serving again"),
        ("longest_gap", "longest gap between two tokens after D"),
        ("median_gap", "median gap of the whole answer"),
    ):
        spread = Spread.of([one[name] for one in measured["rounds"]])
        lines.append(f"  {title:<50} {spread.median:7.3f} s  {spread.range(3)}")
    lines.append("  every text was the one of an undisturbed run")
    lines.append(f"  signed for by the client: {measured['signed_layer_tokens']} layer-tokens\n")
    lines.append(measured["statement"])
    lines.append(measured["redeemed"])
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark, print the table, write the JSON file."""
    parser = argparse.ArgumentParser(prog="scripts/bench_owner", description=__doc__)
    parser.add_argument("--rounds", type=at_least(1), default=5, metavar="N", help="(5)")
    parser.add_argument("--json", type=Path, default=Path("build/bench_owner.json"), metavar="FILE")
    flags = parser.parse_args()

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder:
            measured = measure(flags.rounds, Path(folder))
        write_json(flags.json, measured)
        print(table(measured))
        return 0

    return status_of("bench_owner", work)


if __name__ == "__main__":
    sys.exit(main())
