"""Conversations in the browser, and settings."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.gateway.page.conftest import Reader
from tests.gateway.page.standin import Script, StandIn


def titles(page: Page) -> list[str]:
    """The list at the left."""
    return page.locator("#conversations .open").all_inner_texts()


def menu(page: Page, title: str, entry: str) -> None:
    """Choose from a conversation's menu."""
    page.get_by_role("button", name=f"More about {title}").click()
    page.locator(".menu").get_by_role("button", name=entry).click()


def test_conversations_survive_a_reload_and_another_tab_sees_them(reader: Reader):
    page = reader.open()
    reader.ask("First question")
    reader.wait_done()
    page.get_by_role("button", name="New conversation").click()
    reader.ask("Second question")
    reader.wait_done()
    page.reload()
    expect(page.locator("#title")).to_have_text("Second question")
    assert titles(page) == ["Second question", "First question"]
    page.get_by_role("button", name="First question", exact=True).click()
    expect(page.locator(".turn h2")).to_have_text("First question")
    expect(page.locator(".prose")).to_have_text("One two three.")
    expect(page.locator(".hop")).to_have_count(3)
    other = reader.new_page()
    other.goto(reader.gateway.url)
    expect(other.locator("#conversations .open")).to_have_count(2)
    menu(page, "Second question", "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(other.locator("#conversations .open")).to_have_count(1)


def test_an_answer_goes_on_while_another_conversation_is_shown(reader: Reader, gateway: StandIn):
    hold = threading.Event()
    gateway.script = Script(hold=hold, hold_after=1)
    page = reader.open()
    reader.ask("Slow question")
    expect(page.locator(".prose")).to_have_text("One")
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".empty")).to_be_visible()
    expect(page.locator("#send")).to_be_visible()
    hold.set()
    page.get_by_role("button", name="Slow question", exact=True).click()
    expect(page.locator(".prose")).to_have_text("One two three.")
    expect(page.locator("#send")).to_be_visible()


def test_a_tab_closed_in_mid_answer_leaves_what_came(reader: Reader, gateway: StandIn):
    gateway.script = Script(hold=threading.Event(), hold_after=2)
    page = reader.open()
    reader.ask("Question")
    expect(page.locator(".prose")).to_have_text("One two")
    page.reload()
    expect(page.locator(".prose")).to_have_text("One two")
    expect(page.locator(".outcome")).to_have_text("Stopped.")


def test_conversations_are_renamed_exported_and_deleted(reader: Reader, tmp_path: Path):
    page = reader.open()
    reader.ask("A question")
    reader.wait_done()
    menu(page, "A question", "Rename")
    page.get_by_role("textbox", name="Name").fill("Counting")
    page.get_by_role("button", name="Rename", exact=True).click()
    expect(page.locator("#title")).to_have_text("Counting")
    with page.expect_download() as waiting:
        menu(page, "Counting", "Export as Markdown")
    waiting.value.save_as(tmp_path / "a.md")
    assert waiting.value.suggested_filename == "counting.md"
    assert "## Question\n\nA question\n" in (tmp_path / "a.md").read_text()
    with page.expect_download() as waiting:
        menu(page, "Counting", "Export as JSON")
    waiting.value.save_as(tmp_path / "a.json")
    kept = json.loads((tmp_path / "a.json").read_text())["conversations"][0]
    assert kept["turns"][0]["answer"]["text"] == "One two three."
    page.get_by_role("button", name="Settings").click()
    page.get_by_role("button", name="Delete all").click()
    page.get_by_role("dialog", name="Delete all conversations?").get_by_role(
        "button", name="Delete all"
    ).click()
    expect(page.locator("#conversations .open")).to_have_count(0)
    assert (
        page.evaluate("Object.keys(localStorage).filter((name) => name.includes('conversation')).length") == 0
    )


def test_a_full_store_is_told_and_the_answer_stays(reader: Reader):
    page = reader.open()
    page.evaluate(
        "for (let size = 1 << 20; size; size >>= 1) { try {"
        " for (let n = 0; n < 20; n++) localStorage.setItem(`${size} ${n}`, 'x'.repeat(size)); } catch {} }"
    )
    reader.ask("Question")
    expect(page.locator(".notice").first).to_contain_text("store is full")
    expect(page.locator(".prose")).to_have_text("One two three.")


def test_a_spoiled_store_is_no_obstacle(reader: Reader):
    """Other programs, older pages and people write into it."""
    page = reader.open()
    page.evaluate(
        """() => {
          const prefix = "p2pinfer.chat.conversation.";
          const answer = '{"text": "a", "route": {"hops": [1, null, {"peer": {}}], "events": 3}}';
          const turns = `[null, {"question": 1}, {"question": "q", "answer": ${answer}}]`;
          const kept = ["", "null", "7", "{}", '{"turns": 1}', `{"turns": ${turns}}`];
          kept.forEach((text, index) => localStorage.setItem(prefix + index, text));
          localStorage.setItem("p2pinfer.chat.settings", '{"numbers": {"temperature": "x", "seed": -1}}');
          sessionStorage.setItem("p2pinfer.chat.current", "5");
        }"""
    )
    page.reload()
    expect(page.locator(".turn h2")).to_have_text("q")
    reader.ask("Question")
    expect(page.locator(".prose").last).to_have_text("One two three.")


def test_settings_are_sent_checked_and_kept(reader: Reader, gateway: StandIn):
    gateway.script = Script(models=["one", "two"])
    page = reader.open()
    page.locator("#model").select_option("two")
    page.get_by_role("button", name="Settings").click()
    page.get_by_label("Instructions to the model").fill("Be brief.")
    page.get_by_label("Temperature").fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#settings-wrong")).to_have_text("Temperature is a number from 0 to 2.")
    page.get_by_label("Temperature").fill("0,5")
    page.get_by_label("Seed").fill("7")
    page.get_by_label("Most tokens").fill("99")
    page.get_by_role("button", name="Save").click()
    page.reload()
    expect(page.locator("#model")).to_have_value("two")
    reader.ask("Question")
    reader.wait_done()
    asked = gateway.asked[0]
    assert asked["model"] == "two"
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (asked["temperature"], asked["seed"], asked["max_completion_tokens"]) == (0.5, 7, 99)
    assert "top_p" not in asked
