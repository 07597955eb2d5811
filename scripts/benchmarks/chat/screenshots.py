"""Take pictures of the chat page for the docs: real answers of a real swarm, which loses a server meanwhile.

`scripts/quickstart --chat` runs for it, with the small model. Needs Chromium (Debian: apt install chromium).
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from scripts.benchmarks.shared.child import ROOT
from scripts.benchmarks.shared.report import say

FOLDER = ROOT / "docs" / "images"

_SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_SCALES = {"desktop": 1.0, "phone": 1.25}
_MOST_BYTES = 300_000
_MILLISECONDS = 120_000
_QUESTION = "Why is the sea salty? Answer with a short list."
_SETTINGS = '{"model": "", "system": "", "numbers": {"temperature": 0, "max_completion_tokens": 220}}'
_KILL_AFTER_CHARACTERS = 200


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures. Returns 1 if there is no browser, or a picture is too large for a repository."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots chat", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where to (default: docs/images)")
    args = parser.parse_args(argv)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("scripts/screenshots: there is no chromium here", file=sys.stderr)
        return 1
    args.folder.mkdir(parents=True, exist_ok=True)
    status = 0
    with _quickstart() as url, sync_playwright() as library:
        browser = library.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for size in _SIZES:
            for scheme in ("light", "dark"):
                path = args.folder / f"chat-{size}-{scheme}.png"
                page = _open(browser, url, size, scheme)
                _ask_and_kill(page, in_mid_answer=scheme == "light", picture=path)
                _revive(page)
                page.close()
                say(f"{path}: {path.stat().st_size / 1000:.0f} kB")
                status |= path.stat().st_size > _MOST_BYTES
        browser.close()
    return status


@contextmanager
def _quickstart() -> Iterator[str]:
    """A running demonstration; yields its address."""
    command = [sys.executable, "-u", "-m", "p2pinfer.local_swarm", "--chat", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                say(line.rstrip())
                if found := re.search(r"the chat page is at (\S+)", line):
                    yield found[1]
                    break
        finally:
            process.send_signal(signal.SIGINT)


def _open(browser: Browser, url: str, size: str, scheme: str) -> Page:
    width, height = _SIZES[size]
    page = browser.new_page(
        viewport={"width": width, "height": height},
        device_scale_factor=_SCALES[size],
        color_scheme="dark" if scheme == "dark" else "light",
        has_touch=size == "phone",
        is_mobile=size == "phone",
        locale="en-GB",
    )
    page.set_default_timeout(_MILLISECONDS)
    page.goto(url)
    page.evaluate("(settings) => localStorage.setItem('p2pinfer.chat.settings', settings)", _SETTINGS)
    page.reload()
    expect(page.locator("#model")).to_be_enabled(timeout=_MILLISECONDS)
    expect(page.locator("#server-rows li")).not_to_have_count(0)
    return page


def _ask_and_kill(page: Page, *, in_mid_answer: bool, picture: Path) -> None:
    """Kill the second hop while the answer streams, and take the picture then or at the end."""
    page.locator("#question").fill(_QUESTION)
    page.locator("#question").press("Enter")
    begun = re.compile(rf"[\s\S]{{{_KILL_AFTER_CHARACTERS}}}")
    expect(page.locator(".prose")).to_contain_text(begun, timeout=_MILLISECONDS)
    page.locator(".route .hop .kill").nth(1).click()
    expect(page.locator(".happened li")).to_have_count(1, timeout=_MILLISECONDS)
    page.locator("#question").blur()
    page.wait_for_timeout(600)
    if in_mid_answer:
        page.screenshot(path=picture)
    expect(page.locator("#send")).to_be_visible(timeout=_MILLISECONDS)
    if not in_mid_answer:
        page.wait_for_timeout(4_500)  # until the highlight has faded
        page.screenshot(path=picture)


def _revive(page: Page) -> None:
    """Start the killed server again, and wait until it has announced itself."""
    page.evaluate("document.querySelector('#server-rows .start')?.click()")
    page.wait_for_timeout(30_000)


if __name__ == "__main__":
    sys.exit(main())
