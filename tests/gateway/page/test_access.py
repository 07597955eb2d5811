"""The chat page for everybody: keyboard, screen reader, phone, colours."""

from __future__ import annotations

import threading

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.gateway.page.conftest import DESKTOP, PHONE, Reader, reading
from tests.gateway.page.standin import PEERS, Script, StandIn

ANSWER = (
    "## Title\n\nSome *words* with a [link](https://a.example).\n\n- one\n- two\n\n"
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n"
    "```python\nprint(1)\n```\n\n> quoted\n"
)


def violations(page: Page) -> list[str]:
    """What axe finds."""
    found = Axe().run(page).response["violations"]
    return [f"{rule['id']}: {[node['target'] for node in rule['nodes']]}" for rule in found]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(browser: Browser, gateway: StandIn, viewport: dict[str, int], scheme: str):
    """Empty, with an answer and a lost server, with an error, with each dialog, with the drawer."""
    for reader in reading(browser, gateway, viewport=viewport, color_scheme=scheme, reduced_motion="reduce"):
        gateway.script = Script(words=[ANSWER], is_demo=True)
        page = reader.open()
        expect(page.locator("#server-rows li")).to_have_count(6)
        assert violations(page) == []
        hold = threading.Event()
        gateway.script = Script(words=[ANSWER, "And more."], is_demo=True, hold=hold, hold_after=1)
        reader.ask("Show me everything")
        expect(page.locator(".prose table")).to_be_visible()
        assert violations(page) == []
        gateway.kill(PEERS[1])
        hold.set()
        expect(page.locator(".happened li")).to_be_visible()
        reader.wait_done()
        gateway.script = Script(status=503, message="No server has layers 3-7.", is_demo=True)
        reader.ask("Once more")
        expect(page.locator(".problem")).to_be_visible()
        assert violations(page) == []
        page.get_by_role("button", name="Settings").click()
        assert violations(page) == []
        page.get_by_role("button", name="Change the key").click()
        expect(page.get_by_role("dialog", name="This gateway wants a key")).to_be_visible()
        assert violations(page) == []
        page.keyboard.press("Escape")
        if viewport is PHONE:
            page.get_by_role("button", name="Conversations").click()
        page.get_by_role("button", name="More about Show me everything").click()
        expect(page.locator(".menu")).to_be_visible()
        assert violations(page) == []


def test_everything_can_be_done_by_keyboard(reader: Reader, gateway: StandIn):
    """/ focuses, Enter sends, Shift+Enter begins a line, Esc stops and closes; the focus is never lost."""
    page = reader.open()
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("One")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("Two")
    page.keyboard.press("Enter")
    reader.wait_done()
    assert gateway.asked[0]["messages"][-1]["content"] == "One\nTwo"
    page.locator("body").press("Shift+Tab")
    page.locator("#open-settings").focus()
    page.keyboard.press("/")
    expect(page.locator("#question")).to_be_focused()
    expect(page.locator("#question")).to_have_value("")
    page.locator("#open-settings").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#system")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#settings")).to_be_hidden()
    expect(page.locator("#open-settings")).to_be_focused()
    more = page.locator(".more").first
    more.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".menu button").first).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".menu")).to_be_hidden()
    expect(more).to_be_focused()
    edit = page.get_by_role("button", name="Edit the question")
    edit.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(edit).to_be_focused()


def test_the_skip_link_is_first_and_leads_to_the_question(reader: Reader):
    page = reader.open()
    page.reload()
    page.evaluate("document.activeElement.blur()")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#question")).to_be_focused()


def test_a_screen_reader_gets_sentences_not_tokens(reader: Reader, gateway: StandIn):
    """Half a sentence waits; the end says that it is the end."""
    hold = threading.Event()
    gateway.script = Script(
        words=["The sea", " is **wide**", ". It", " is", " deep"], hold=hold, hold_after=4
    )
    page = reader.open()
    reader.ask("Say")
    expect(page.locator("#reader")).to_have_text("The sea is wide.")
    hold.set()
    expect(page.locator("#reader")).to_have_text("The sea is wide.It is deep")
    expect(page.locator("#status")).to_have_text("The answer is complete")


def test_a_phone_has_a_drawer_and_nothing_sticks_out(phone: Reader, gateway: StandIn):
    gateway.script = Script(words=[ANSWER + "x" * 300 + " `" + "y" * 300 + "`"])
    page = phone.open()
    expect(page.get_by_role("button", name="New conversation")).to_be_hidden()
    phone.ask("z" * 300)
    phone.wait_done()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.evaluate("document.getElementById('main').scrollWidth") <= PHONE["width"]
    page.get_by_role("button", name="Conversations").tap()
    expect(page.get_by_role("button", name="New conversation")).to_be_visible()
    assert page.evaluate("document.getElementById('frame').inert") is True
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="New conversation")).to_be_hidden()
    expect(page.get_by_role("button", name="Conversations")).to_be_focused()


def test_the_page_is_painted_soon_and_doesnt_shift(reader: Reader, gateway: StandIn):
    """Its own figures, without a network between: the first paint, and the shifts while an answer streams."""
    gateway.script = Script(words=[f"word{number} " for number in range(60)], pause_seconds=0.01)
    page = reader.page
    page.add_init_script(
        "window.shifts = 0; new PerformanceObserver((list) => {"
        " for (const entry of list.getEntries()) window.shifts += entry.value; })"
        ".observe({ type: 'layout-shift', buffered: true });"
    )
    reader.open()
    page.reload()
    expect(page.locator("#model")).to_be_enabled()
    page.evaluate("window.shifts = 0")
    reader.ask("Go on")
    reader.wait_done()
    assert page.evaluate("window.shifts") < 0.1
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 1000  # 60 ms on an idle machine; tests share theirs
