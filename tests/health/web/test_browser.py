"""The page in a real Chromium: what readers and screen readers get, and what an update keeps."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from p2pinfer.health.snapshot.state import Activity, HealthState
from tests.health.states import (
    hostile_state,
    large_state,
    make_contribution,
    make_model,
    make_probe,
    make_server,
    make_state,
)
from tests.health.web.serving import FakeSource, Served, recent_samples, served

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}

NAMES = [("Ada", 50.0), ("bob", 9.0), ("Curie", 120.0), ("dora", None)]


def swarm(*names: tuple[str, float | None], **changes: object) -> HealthState:
    """One model of 30 layers; each server has ten of them, in turn."""
    servers = [
        make_server(
            number,
            (number % 3 * 10, number % 3 * 10 + 10),
            public_name=name,
            decode_tokens_per_second=rate,
            state=Activity.JOINING if rate is None else Activity.SERVING,
        )
        for number, (name, rate) in enumerate(names or NAMES)
    ]
    contributions = [make_contribution(number) for number in range(3)]
    return make_state(
        [make_model(servers=servers, probe=make_probe())],
        contributions=contributions,
        generated_at=time.time(),
        **changes,
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all tests of this file."""
    with sync_playwright() as library:
        expect.set_options(timeout=60_000)  # the machine may be busy
        running = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def site() -> Iterator[Served]:
    """A page whose source the test changes."""
    with served(FakeSource(swarm(), recent_samples())) as running:
        yield running


class Watched:
    """A browser's page, and all that it complained of or asked elsewhere."""

    def __init__(self, context: BrowserContext, site: Served) -> None:
        self.page: Page = context.new_page()
        self.complaints: list[str] = []
        self.page.on(
            "console", lambda message: message.type in ("error", "warning") and self._note(message.text)
        )
        self.page.on("pageerror", lambda error: self._note(str(error)))
        self.page.on(
            "request", lambda asked: asked.url.startswith(site.url) or self._note(f"asked {asked.url}")
        )
        self.page.goto(site.url)

    def _note(self, text: str) -> None:
        self.complaints.append(text)


@pytest.fixture
def watched(browser: Browser, site: Served) -> Iterator[Watched]:
    """A desktop reader. Whatever the test does, nothing may be complained of, or loaded from elsewhere."""
    context = browser.new_context(viewport=DESKTOP)
    watching = Watched(context, site)
    expect(watching.page.locator("th button").first).to_be_visible()
    watching.page.evaluate("window.notReloaded = true")
    yield watching
    assert watching.page.evaluate("window.notReloaded") is True
    assert watching.complaints == []
    context.close()


def server_names(page: Page) -> list[str]:
    """In the order of the table, those that are shown."""
    return page.locator("#model-0-servers tbody tr:not([hidden]) bdi.name").all_inner_texts()


def test_coverage_and_headline_change_without_a_reload(watched: Watched, site: Served):
    """A server dies; within seconds the picture, the text and the screen reader's text change."""
    page = watched.page
    expect(page.locator("h2[data-headline]")).to_contain_text(
        "is thin: layers 0–29 depend on one server each"
    )
    assert page.locator(".picture .brick").count() == 4
    site.source.publish(swarm(("Ada", 50.0), ("bob", 9.0)))
    expect(page.locator("h2[data-headline]")).to_contain_text("nobody serves layers 20–29")
    assert page.locator(".picture .brick").count() == 2
    assert page.locator(".picture .cell.none").count() == 1
    assert page.locator("h1").inner_text() == "The model cannot generate text now"
    expect(page.locator("#announce")).to_contain_text("nobody serves layers 20–29")


def test_a_servers_columns_can_be_sorted_by(watched: Watched):
    """Numbers as numbers, names as names, empty cells last, in both directions, by mouse or keyboard."""
    page = watched.page
    decode = page.get_by_role("button", name="Decode")
    decode.click()
    assert server_names(page) == ["bob", "Ada", "Curie", "dora"]
    header = page.locator("#model-0-servers th", has=decode)
    assert header.get_attribute("aria-sort") == "ascending"
    decode.click()
    assert server_names(page) == ["Curie", "Ada", "bob", "dora"]
    assert header.get_attribute("aria-sort") == "descending"
    page.locator("#model-0-servers").get_by_role("button", name="Server").focus()
    page.keyboard.press("Enter")
    assert server_names(page) == ["Ada", "bob", "Curie", "dora"]
    assert header.get_attribute("aria-sort") is None


def test_servers_can_be_searched(watched: Watched):
    """Any word of a row matches; the page shows the number of matches."""
    page = watched.page
    page.get_by_role("searchbox").fill("cur")
    assert server_names(page) == ["Curie"]
    expect(page.locator("[data-matches]")).to_have_text("1 of 4")
    page.get_by_role("searchbox").fill("JOINING")
    assert server_names(page) == ["dora"]
    page.get_by_role("searchbox").fill("")
    assert len(server_names(page)) == 4


def test_an_update_keeps_what_the_reader_did(watched: Watched, site: Served):
    """Sort, search, focus, caret, open details, and both scroll positions."""
    page = watched.page
    page.get_by_role("button", name="Decode").click()
    page.get_by_text("Coverage in words").click()
    search = page.get_by_role("searchbox")
    search.fill("ada")
    search.press("ArrowLeft")
    page.evaluate("window.scrollTo(0, 300)")
    page.evaluate("document.querySelector('[data-key=servers]').scrollLeft = 40")
    at = page.evaluate("[scrollY, document.querySelector('[data-key=servers]').scrollLeft]")
    page.evaluate("window.row = document.querySelector('tr[data-key] bdi.name')")
    state = swarm(("Ada", 150.0), ("bob", 9.0), ("Curie", 120.0), ("Fada", 7.0))
    site.source.publish(state)
    expect(page.locator("tr", has_text="Fada")).to_be_visible(timeout=10_000)
    assert server_names(page) == ["Fada", "Ada"]
    assert search.input_value() == "ada"
    assert search.evaluate("e => e === document.activeElement && e.selectionStart === 2")
    assert page.evaluate("[scrollY, document.querySelector('[data-key=servers]').scrollLeft]") == at
    assert page.locator("details[open]").count() == 1
    assert page.evaluate("window.row.isConnected")


def test_the_page_falls_back_to_asking(browser: Browser):
    """If there are too many listeners, the page polls every 15 s."""
    with served(FakeSource(swarm(), recent_samples()), most_listeners=0) as site:
        context = browser.new_context(viewport=DESKTOP)
        page = context.new_page()
        page.clock.install()
        page.goto(site.url)
        expect(page.locator("th button").first).to_be_visible()
        site.source.publish(swarm(("Ada", 50.0)))
        site.wait_for("nobody serves")
        page.clock.run_for(20_000)
        expect(page.locator("h2[data-headline]")).to_contain_text("nobody serves")
        context.close()


def test_a_page_that_hears_nothing_says_that_it_is_old(browser: Browser):
    """The age counts up every second, and after two minutes a banner says that the page is out of date."""
    with served(FakeSource(swarm(), recent_samples())) as site:
        context = browser.new_context(viewport=DESKTOP)
        page = context.new_page()
        page.clock.install()
        page.goto(site.url)
        expect(page.locator("#age")).to_contain_text("s ago")
        expect(page.locator("#stale")).to_be_hidden()
        context.set_offline(True)
        page.clock.run_for(130_000)
        expect(page.locator("#stale")).to_be_visible()
        expect(page.locator("#age")).to_contain_text("2 min ago")
        context.close()


@pytest.mark.parametrize("width", [320, 360])
@pytest.mark.parametrize("kind", ["usual", "hostile", "large"])
def test_a_phone_never_scrolls_sideways(browser: Browser, width: int, kind: str):
    """Tables scroll in their own frames; no name makes the page itself wider."""
    state = {"usual": swarm, "hostile": hostile_state, "large": lambda: large_state(100)}[kind]()
    with served(FakeSource(state, recent_samples())) as site:
        page = browser.new_page(viewport={"width": width, "height": 740})
        page.goto(site.url)
        expect(page.locator("th button").first).to_be_attached()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.close()


LONG = "The station wagon of the Okafor family, second floor, Lyon (FR)"


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_a_long_name_is_readable_in_the_table_and_the_whole_id_opens(browser: Browser, viewport: dict):
    """Nothing of a name is cut off or hidden, by finger or by mouse; an update leaves the id open."""
    with served(FakeSource(swarm((LONG, 50.0)), recent_samples())) as site:
        page = browser.new_page(viewport=viewport)
        page.goto(site.url)
        expect(page.locator("th button").first).to_be_attached()
        name = page.locator("#model-0-servers bdi.name")
        assert name.inner_text() == LONG
        assert name.evaluate("e => e.scrollWidth <= e.clientWidth && e.scrollHeight <= e.clientHeight + 1")
        whole = page.locator("#model-0-servers details.id > bdi")
        expect(whole).to_be_hidden()
        page.locator("#model-0-servers details.id summary").click()
        expect(whole).to_have_text(make_server(0).peer_id)
        expect(whole).to_be_visible()
        site.source.publish(swarm((LONG, 51.0)))
        expect(page.locator("#model-0-servers")).to_contain_text("510")
        expect(whole).to_be_visible()
        page.close()


def test_a_bars_name_ends_with_a_sign_where_it_is_cut(browser: Browser):
    with served(FakeSource(swarm((LONG, 50.0)), recent_samples())) as site:
        page = browser.new_page(viewport=PHONE)
        page.goto(site.url)
        bar = page.locator(".picture .barname")
        assert bar.evaluate("e => [getComputedStyle(e).textOverflow, e.scrollWidth > e.clientWidth]") == [
            "ellipsis",
            True,
        ]
        assert page.locator(".picture .brick title").text_content().startswith(LONG)
        page.close()


@pytest.mark.parametrize(("viewport", "is_wide"), [(DESKTOP, True), (PHONE, False)], ids=["desktop", "phone"])
def test_a_table_that_is_wider_than_the_screen_says_that_it_scrolls(
    browser: Browser, site: Served, viewport: dict, is_wide: bool
):
    page = browser.new_page(viewport=viewport)
    page.goto(site.url)
    expect(page.locator("th button").first).to_be_attached()
    frame, sign = page.locator("[data-key=servers]"), page.locator(".swipe:has(+ [data-key=servers])")
    assert frame.evaluate("e => e.scrollWidth <= e.clientWidth") is is_wide
    assert sign.is_hidden() is is_wide
    page.close()


def test_a_short_search_looks_at_what_is_visible_and_a_long_one_at_whole_ids(watched: Watched):
    """Any two letters are somewhere in most of the ids."""
    page = watched.page
    search = page.get_by_role("searchbox")
    search.fill("12d3")
    assert server_names(page) == []
    search.fill(make_server(2).peer_id[8:20])
    assert server_names(page) == ["Curie"]


def test_dark_is_dark(browser: Browser, site: Served):
    """The colours follow the preference of the reader's system."""
    grounds = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(site.url)
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(int(part) for part in colour.strip("rgb()").split(",")))
        page.close()
    assert grounds[0] > 600 and grounds[1] < 120


def test_all_can_be_done_by_keyboard(watched: Watched):
    """Skip link first; then every control gets the focus, in order, and shows it."""
    page = watched.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached: set[str] = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        what, outline = page.evaluate(
            "[document.activeElement.tagName, getComputedStyle(document.activeElement).outlineStyle]"
        )
        if what == "BODY":
            break
        assert outline != "none"
        reached.add(what)
    assert {"SUMMARY", "INPUT", "BUTTON", "A", "PRE"} <= reached


def test_commands_can_be_copied(browser: Browser, site: Served):
    """One press copies the exact text."""
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(site.url)
    page.get_by_role("button", name="Copy: Serve some layers").click()
    expect(page.locator("#announce")).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "python -m p2pinfer.owner init" in copied and "--initial-peers /dns4/swarm.example.org" in copied
    context.close()


def test_without_javascript_the_essentials_are_there(browser: Browser, site: Served):
    """Headline, picture, plots, all servers, commands, times in UTC; and no control without effect."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(site.url)
    assert "depend on one server each" in page.locator("h2[data-headline]").inner_text()
    assert page.locator(".picture .brick").count() == 4
    assert page.locator(".plot path.line").count() >= 3
    assert server_names(page) == [name for name, _ in NAMES]
    assert "--initial-peers" in page.locator("pre").nth(1).inner_text()
    assert page.locator("#asof").inner_text().endswith("UTC")
    assert page.get_by_role("searchbox").count() == 0
    assert page.locator("button:visible").count() == 0
    assert "reload it" in page.locator("footer").inner_text()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("path", ["/", "/api", "/nothing"])
def test_axe_finds_no_serious_fault(browser: Browser, site: Served, scheme: str, viewport: dict, path: str):
    """Names, roles, contrast, order of headings, with details open and models in every state."""
    models = [
        make_model(0, probe=make_probe()),
        make_model(1, servers=[make_server(0, (0, 30))], probe=make_probe(works=False, detail="no route")),
        make_model(2, servers=[make_server(1, (0, 9), state=Activity.DRAINING)]),
    ]
    trouble = {"fresh": False, "detail": "nobody answers"} if scheme == "dark" else {}
    site.source.publish(replace(swarm(), models=tuple(models), **trouble))
    context = browser.new_context(viewport=viewport, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(f"{site.url}{path}")
    if path == "/":
        expect(page.locator("h2[data-headline]")).to_have_count(3)
        page.get_by_role("button", name="Decode").first.click()
    page.evaluate("document.querySelectorAll('details').forEach(e => { e.open = true })")
    found = Axe().run(page).response["violations"]
    serious = [
        (fault["id"], fault["impact"], fault["nodes"][0]["html"][:200], fault["nodes"][0]["failureSummary"])
        for fault in found
        if fault["impact"] in ("serious", "critical")
    ]
    assert serious == []
    context.close()


def test_a_hostile_swarm_does_nothing_to_the_reader(browser: Browser):
    """No script of a stranger runs, no other site gets a request, the title stays; after an update too."""
    with served(FakeSource(swarm(), recent_samples())) as site:
        context = browser.new_context(viewport=DESKTOP)
        watching = Watched(context, site)
        title = watching.page.title()
        site.source.publish(replace(hostile_state(), generated_at=time.time() + 5, fresh=True))
        expect(watching.page.locator("h2[data-headline]").first).to_contain_text("<script>")
        watching.page.locator("a.jump, .jump a").first.hover()
        watching.page.reload()
        expect(watching.page.locator("th button").first).to_be_attached()
        assert watching.page.title() == title
        assert watching.complaints == []
        context.close()
