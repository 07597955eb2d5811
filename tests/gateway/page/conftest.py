"""The chat page in a real Chromium, before a stand-in for the gateway."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.gateway.page.standin import StandIn, standing_in

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

MILLISECONDS = 60_000
"""So long the page may take for anything, on a busy machine."""

NETWORK = "Failed to load resource"
"""What Chromium's console says of every answer that is no 200; tests of errors expect it."""


@pytest.fixture(scope="module")  # asyncio tests of this process fail while it is open
def browser() -> Iterator[Browser]:
    """One for all tests of this folder."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    with sync_playwright() as library:
        expect.set_options(timeout=MILLISECONDS)
        running = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def gateway() -> Iterator[StandIn]:
    """A gateway that says what the test tells it to say."""
    with standing_in() as running:
        yield running


class Reader:
    """Somebody who reads the page, and hears all that the browser complains of."""

    def __init__(self, context: BrowserContext, gateway: StandIn) -> None:
        self.context = context
        self.gateway = gateway
        self.complaints: list[str] = []
        self.page = self.new_page()

    def new_page(self) -> Page:
        """Another tab."""
        page = self.context.new_page()
        page.on("console", lambda said: said.type in ("error", "warning") and self._note(said.text))
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", lambda asked: self._note_request(asked.url))
        page.add_init_script(
            "document.addEventListener('securitypolicyviolation',"
            " (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
        )
        return page

    def open(self) -> Page:
        """Open the page, and wait until the models are there."""
        self.page.goto(self.gateway.url)
        expect(self.page.locator("#model")).to_be_enabled()
        return self.page

    def ask(self, text: str) -> None:
        """Ask by keyboard."""
        self.page.locator("#question").fill(text)
        self.page.locator("#question").press("Enter")

    def wait_done(self) -> None:
        """Wait for the end of the answer."""
        expect(self.page.locator("#send")).to_be_visible()

    def _note(self, text: str) -> None:
        if not text.startswith(NETWORK):
            self.complaints.append(text)

    def _note_request(self, url: str) -> None:
        if not url.startswith((self.gateway.url, "blob:")):
            self._note(f"asked {url}")


def reading(browser: Browser, gateway: StandIn, **settings: object) -> Iterator[Reader]:
    """A reader, whose browser may complain of nothing until the end."""
    context = browser.new_context(**{"viewport": DESKTOP, **settings})  # type: ignore[arg-type]
    context.set_default_timeout(MILLISECONDS)
    reader = Reader(context, gateway)
    try:
        yield reader
        assert reader.complaints == []
    finally:
        context.close()


@pytest.fixture
def reader(browser: Browser, gateway: StandIn) -> Iterator[Reader]:
    """A reader at a desk."""
    yield from reading(browser, gateway)


@pytest.fixture
def phone(browser: Browser, gateway: StandIn) -> Iterator[Reader]:
    """A reader with a phone."""
    yield from reading(browser, gateway, viewport=PHONE, has_touch=True, is_mobile=True)
