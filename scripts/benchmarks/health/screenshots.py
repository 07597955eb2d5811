"""Take pictures of the health page for the docs: desktop and phone, light and dark, of an invented swarm.

No real swarm is shown: names, figures and history are made up, and are always the same but for the time of
day. Needs Chromium (Debian: apt install chromium).
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import sync_playwright

from p2pinfer.health.snapshot.state import Activity, Answer, HealthState, Sample, ServerView
from scripts.benchmarks.shared.child import ROOT
from scripts.benchmarks.shared.report import say
from tests.health.states import (
    make_contribution,
    make_model,
    make_probe,
    make_server,
    make_state,
    peer_id,
)
from tests.health.web.serving import FakeSource, served

FOLDER = ROOT / "docs" / "images"
_JOIN = "/dns4/swarm.example.org/tcp/4600/p2p/12D3KooWQ9xkEqv3pGcHn1uMdT8yZr5sKfJ2bLa7VwXo4CtRiNeP"
_SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_MOST_BYTES = 300_000


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures. Returns 1 if there is no browser, or a picture is too large for a repository."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: docs/images)")
    args = parser.parse_args(argv)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("scripts/screenshots: there is no chromium here", file=sys.stderr)
        return 1
    args.folder.mkdir(parents=True, exist_ok=True)
    status = 0
    now = time.time()
    with served(InventedSource(invented(now), history(now))) as page_server, sync_playwright() as library:
        browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for size, (width, height) in _SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    device_scale_factor=1 if size == "desktop" else 1.5,
                    color_scheme="dark" if scheme == "dark" else "light",
                    timezone_id="UTC",
                    locale="en-GB",
                )
                page.goto(page_server.url)
                page.wait_for_selector("th button")
                path = args.folder / f"health-{size}-{scheme}.png"
                tall = 2000 if size == "desktop" else 1900
                page.screenshot(
                    path=path, clip={"x": 0, "y": 0, "width": width, "height": tall}, full_page=True
                )
                page.close()
                say(f"{path}: {path.stat().st_size / 1000:.0f} kB")
                status |= path.stat().st_size > _MOST_BYTES
        browser.close()
    return status


class InventedSource(FakeSource):
    """A source of invented models, each with a history that fits it."""

    def history(self, model: str, hours: float) -> Sequence[Sample]:
        """The first model's history, smaller for others; the last one has been down for some hours."""
        views = self.state().models
        place = next(index for index, view in enumerate(views) if view.model == model)
        if place == 0:
            return self.samples
        factor = (1.0, 0.7, 0.5)[place]
        alive = len(self.samples) * 3 // 4 if place == 2 else len(self.samples)
        return [
            Sample(
                at=sample.at,
                servers=max(2, round(sample.servers * factor)),
                weakest_replicas=min(sample.weakest_replicas, 1) if index < alive else 0,
                swarm_tokens_per_second=sample.swarm_tokens_per_second * factor / 5.5
                if index < alive
                else 0.0,
                probe_tokens_per_second=None,
            )
            for index, sample in enumerate(self.samples)
        ]


def invented(now: float) -> HealthState:
    """Three models: one is well, one has few replicas, one is down."""
    well = make_model(
        0,
        name="SmolLM2-135M-Instruct",
        servers=[
            _server(1, "Curie", (0, 15), now, 61.2, region="Norway"),
            _server(2, "Station wagon, Lyon", (0, 12), now, 74.0, region="France"),
            _server(3, "attic-nuc", (12, 30), now, 48.9),
            _server(4, "", (15, 30), now, 57.3, region="Germany"),
            _server(5, "Model Y of the Okafors", (8, 22), now, 66.1, leaves_at=now + 2400),
            _server(6, "Blue Zoe", (0, 10), now, 71.5, state=Activity.DRAINING, leaves_at=now + 120),
            _server(7, "basement rack", (0, 30), now, 39.4),
            _server(8, "Пикап", (20, 30), now, None, state=Activity.JOINING),
        ],
        best_route_tokens_per_second=58.4,
        swarm_tokens_per_second=171.0,
        probe=make_probe(
            at=now - 41,
            first_token_seconds=0.19,
            tokens_per_second=52.7,
            route=((_short(1), 0, 15), (_short(4), 15, 30)),
        ),
    )
    thin = make_model(
        1,
        name="Qwen3-8B",
        num_layers=36,
        servers=[
            _server(11, "Curie", (0, 18), now, 11.3, region="Norway"),
            _server(12, "ID.4 at the office", (0, 20), now, 9.7, region="Germany"),
            _server(13, "Lab car 2", (20, 36), now, 12.8),
            _server(14, "Polestar", (18, 28), now, 13.1, region="Sweden", leaves_at=now + 5400),
            _server(15, "Lab car 3", (26, 36), now, None, state=Activity.JOINING),
        ],
        best_route_tokens_per_second=7.9,
        swarm_tokens_per_second=21.6,
    )
    down = make_model(
        2,
        name="Mistral-7B-Instruct-v0.3",
        num_layers=32,
        answer=Answer.NO,
        servers=[_server(21, "Ioniq", (0, 10), now, 14.2), _server(22, "garage-4090", (20, 32), now, 88.0)],
    )
    names = ("Curie", "basement rack", "attic-nuc", "Station wagon, Lyon", "garage-4090")
    contributions = [
        make_contribution(number, public_name=name, decode_layer_tokens=41_800_000 // number**2)
        for number, name in enumerate(names, start=1)
    ]
    return make_state(
        [well, thin, down], contributions=contributions, generated_at=now, join_addresses=(_JOIN,)
    )


def history(now: float) -> list[Sample]:
    """A day: cars come home in the evening, and leave in the morning."""
    chooser = random.Random(6)
    samples = []
    drift = 0.0
    for index in range(288):
        at = now - (287 - index) * 300.0
        home = 0.5 + 0.5 * math.cos((index - 262) / 288 * 2 * math.pi)
        drift = 0.85 * drift + chooser.uniform(-0.22, 0.22)
        servers = round(2.3 + 4 * home + drift)
        samples.append(
            Sample(
                at=at,
                servers=servers,
                weakest_replicas=max(1, servers // 2),
                swarm_tokens_per_second=171.0 / 6 * servers + chooser.uniform(-3.0, 3.0) * (index < 287),
                probe_tokens_per_second=50.0 + chooser.uniform(-4.0, 4.0),
            )
        )
    return samples


def _server(
    number: int,
    name: str,
    layers: tuple[int, int],
    now: float,
    rate: float | None,
    *,
    state: Activity = Activity.SERVING,
    region: str = "",
    leaves_at: float | None = None,
) -> ServerView:
    return make_server(
        number,
        layers,
        public_name=name,
        state=state,
        region=region,
        decode_tokens_per_second=rate,
        prefill_tokens_per_second=rate and rate * 14.5,
        queue_depth=number % 3,
        free_cache_tokens=30_000 * (1 + number % 5),
        numerics="native-w8a8h64-1",
        since=now - 2700.0 * number,
        leaves_at=leaves_at,
    )


def _short(number: int) -> str:
    return f"…{peer_id(number)[-6:]}"


if __name__ == "__main__":
    sys.exit(main())
