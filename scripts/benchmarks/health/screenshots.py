"""Take pictures of the health page for the docs, of a real swarm: desktop and phone, light and dark.

Servers of the small model run on this machine, join and leave, and work for the page's probe; their owners
submit the receipts. Only names and regions are invented. Needs Chromium (Debian: apt install chromium).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from p2pinfer.folders import user_cache_folder
from p2pinfer.local_swarm.default_model import SMOLLM2, fetch_model_file
from p2pinfer.local_swarm.swarm import LocalSwarm
from p2pinfer.model.source import open_model
from p2pinfer.types import Span
from scripts.benchmarks.shared.child import ROOT
from scripts.benchmarks.shared.report import say

FOLDER = ROOT / "docs" / "images"
_SHOWN_PEER = "/dns4/swarm.example.org/tcp/4600/p2p/12D3KooWQ9xkEqv3pGcHn1uMdT8yZr5sKfJ2bLa7VwXo4CtRiNeP"
_SHOWN_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_TALL = {"desktop": 2000, "phone": 2450}
_SCALES = {"desktop": 1.0, "phone": 1.25}
_MOST_BYTES = 300_000

_SERVERS = (
    ("Curie", "Norway", Span(0, 15)),
    ("attic-nuc", "", Span(12, 30)),
    ("basement rack", "Germany", Span(0, 30)),
    ("Model Y of the Okafors", "", Span(8, 22)),
    ("Station wagon with a long name, Lyon", "France", Span(0, 12)),
    ("", "Germany", Span(15, 30)),
)
_LEAVES = 2
"""This one leaves in the middle, and comes back."""


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures. Returns 1 if there is no browser, or a picture is too large for a repository."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: docs/images)")
    parser.add_argument("--minutes", type=float, default=20.0, help="how long the swarm lives (default: 20)")
    args = parser.parse_args(argv)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("scripts/screenshots: there is no chromium here", file=sys.stderr)
        return 1
    args.folder.mkdir(parents=True, exist_ok=True)
    cache = user_cache_folder()
    store = open_model(str(fetch_model_file(SMOLLM2, cache, progress=say)), cache_folder=cache, progress=say)
    with tempfile.TemporaryDirectory() as data, LocalSwarm() as swarm:
        _start(swarm, store.folder, *_SERVERS[0])
        _start(swarm, store.folder, *_SERVERS[1])
        flags = ["--probe", str(store.folder), "--probe-seconds", "30", "--data-folder", data]
        with _page(swarm.initial_peers, flags) as url:
            _live(swarm, store.folder, seconds=args.minutes * 60)
            _submit_receipts(swarm, url, Path(data))
            return _take_pictures(chromium, url, args.folder)


def _live(swarm: LocalSwarm, model: Path, *, seconds: float) -> None:
    """Servers join one by one; one leaves in the middle and comes back."""
    began = time.monotonic()

    def wait_until(part: float) -> None:
        time.sleep(max(0.0, began + part * seconds - time.monotonic()))

    for number, server in enumerate(_SERVERS[2:]):
        wait_until(0.12 + 0.1 * number)
        _start(swarm, model, *server)
    wait_until(0.6)
    swarm.kill(_LEAVES)
    wait_until(0.75)
    swarm.restart(_LEAVES)
    wait_until(1.0)


def _start(swarm: LocalSwarm, model: Path, name: str, region: str, layers: Span) -> None:
    flags = [*(["--public-name", name] if name else []), *(["--region", region] if region else [])]
    say(f"{name or 'a server without a name'} joins with layers {layers}")
    swarm.start(model, [layers], threads=1, server_arguments=flags)


@contextmanager
def _page(initial_peers: Sequence[str], flags: Sequence[str]) -> Iterator[str]:
    """A running page; yields its address."""
    command = [sys.executable, "-u", "-m", "p2pinfer.health", "--port", "0", *flags]
    command += ["--initial-peers", *initial_peers, "--show-peers", _SHOWN_PEER, "--show-model", _SHOWN_MODEL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().split()[-1].rstrip("/")
        finally:
            process.terminate()


def _submit_receipts(swarm: LocalSwarm, url: str, folder: Path) -> None:
    """What the servers' owners do: export receipts, and POST them."""
    for index in range(len(swarm.servers)):
        out = folder / f"receipts-{index}.txt"
        command = [sys.executable, "-m", "p2pinfer.owner", "--data-folder", str(swarm.data_folder(index))]
        finished = subprocess.run([*command, "export", "--out", str(out)], capture_output=True, check=False)
        if finished.returncode != 0:  # no client has signed for this server
            continue
        request = urllib.request.Request(f"{url}/api/v1/receipts", data=out.read_bytes(), method="POST")
        with urllib.request.urlopen(request) as answer:
            say(f"receipts of server {index}: {answer.read().decode()}")


def _take_pictures(chromium: str, url: str, folder: Path) -> int:
    status = 0
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for size, (width, height) in _SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    viewport={"width": width, "height": height},
                    device_scale_factor=_SCALES[size],
                    color_scheme="dark" if scheme == "dark" else "light",
                    timezone_id="UTC",
                    locale="en-GB",
                )
                page.goto(url)
                page.wait_for_selector("th button")
                path = folder / f"health-{size}-{scheme}.png"
                page.screenshot(
                    path=path, clip={"x": 0, "y": 0, "width": width, "height": _TALL[size]}, full_page=True
                )
                page.close()
                say(f"{path}: {path.stat().st_size / 1000:.0f} kB")
                status |= path.stat().st_size > _MOST_BYTES
        browser.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
