"""scripts/quickstart --chat in a real browser: a server dies in mid-answer by the page's button."""

from __future__ import annotations

import re
import shutil
import signal

import pytest
from playwright.sync_api import expect, sync_playwright

from p2pinfer.model.layer_store.store import LayerStore
from tests.end_to_end.quickstart.demo import Demo

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
MILLISECONDS = 60_000


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.timeout(300)
def test_servers_killed_by_the_pages_buttons_dont_end_the_answer(smollm2: LayerStore):
    """Another server takes over, the page shows it, the killed one can come back; Ctrl-C ends everything."""
    with Demo("--chat", "--no-browser", "--port", "0") as demo, sync_playwright() as library:
        demo.read_until(lambda output: "Ctrl-C here ends everything" in output)
        found = re.search(r"the chat page is at (\S+)", demo.output)
        assert found is not None, demo.output
        browser = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(MILLISECONDS)
        expect.set_options(timeout=MILLISECONDS)
        complaints: list[str] = []
        page.on("console", lambda said: said.type == "error" and complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(found[1])
        expect(page.locator("#model")).to_be_enabled(timeout=MILLISECONDS)
        expect(page.locator("#server-rows li")).to_have_count(6)
        page.locator("#question").fill("Tell me a long story about a lighthouse.")
        page.locator("#question").press("Enter")
        expect(page.locator(".prose")).to_contain_text(re.compile(r"[\s\S]{60}"))
        expect(page.locator(".route .hop")).to_have_count(3)
        peers = page.locator(".route .hop .peer").all_inner_texts()
        page.locator(".route").get_by_role("button", name=f"Kill {peers[1]}").click()
        left = rf"{peers[1]} left; …\w{{6}} took over, \d+(\.\d)? s"
        expect(page.locator(".happened li")).to_have_text(re.compile(left))
        before = len(page.locator(".prose").inner_text())
        more = re.compile(rf"[\s\S]{{{before + 40}}}")
        expect(page.locator(".prose")).to_contain_text(more)
        page.locator("#stop").click()
        expect(page.locator(".outcome")).to_contain_text("Stopped.")
        assert page.locator(".problem").count() == 0
        page.locator("#servers").get_by_role("button", name=f"Start {peers[1]} again").click()
        expect(page.locator("#server-rows .isgone")).to_have_count(0)
        assert complaints == []
        browser.close()
        demo.process.send_signal(signal.SIGINT)
        assert demo.finish() == 0, demo.output

    assert "Traceback" not in demo.output
    assert demo.left_behind() == []
