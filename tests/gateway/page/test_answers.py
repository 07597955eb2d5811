"""Answers on the chat page: streaming, stopping, trying again, errors, servers that leave."""

from __future__ import annotations

import threading

import pytest
from playwright.sync_api import expect

from tests.gateway.page.conftest import Reader
from tests.gateway.page.standin import Script, StandIn

LONG = [f"word{number} " for number in range(40)]


def test_an_answer_streams_with_its_route_beside_it(reader: Reader, gateway: StandIn):
    """The request asks for the route; the hops stand in order, with speed and cached tokens."""
    page = reader.open()
    reader.ask("How many?")
    expect(page.locator(".prose")).to_have_text("One two three.")
    reader.wait_done()

    assert page.locator(".hop .peer").all_inner_texts() == ["…c6iDEp", "…UgQ9xk", "…Pb7bTd"]
    assert page.locator(".hop .ms").all_inner_texts() == ["5.3 ms", "6.3 ms", "7.3 ms"]
    assert "17.9 tokens/s" in page.locator(".figures").inner_text()
    assert "12 of 40 prompt tokens cached" in page.locator(".figures").inner_text()
    asked = gateway.asked[0]
    assert asked["p2pinfer"] == {"route": True}
    assert asked["stream_options"] == {"include_usage": True}
    assert asked["messages"] == [{"role": "user", "content": "How many?"}]


def test_a_server_killed_by_its_button_in_mid_answer_is_replaced_before_the_readers_eyes(
    reader: Reader, gateway: StandIn
):
    """The answer goes on; the route says who left and who took over."""
    hold = threading.Event()
    gateway.script = Script(words=LONG, is_demo=True, hold=hold, hold_after=20)
    page = reader.open()
    expect(page.locator("#server-rows li")).to_have_count(6)
    reader.ask("Go on")
    expect(page.locator(".prose")).to_contain_text("word19")
    page.get_by_role("group", name="Route of this answer").get_by_role("button", name="Kill …UgQ9xk").click()
    expect(page.locator("#server-rows li.isgone .peer")).to_have_text("…UgQ9xk")
    hold.set()
    expect(page.locator(".happened li")).to_have_text("…UgQ9xk left; …KnQ2rG took over, 0.3 s")
    expect(page.locator(".hop.isgone .peer")).to_have_text("…UgQ9xk")
    expect(page.locator(".hop.isnew .peer")).to_have_text("…KnQ2rG")
    reader.wait_done()
    assert page.locator(".prose").inner_text() == "".join(LONG).strip()
    page.reload()
    expect(page.locator(".happened li")).to_have_text("…UgQ9xk left; …KnQ2rG took over, 0.3 s")


def test_no_demonstration_no_buttons(reader: Reader):
    page = reader.open()
    reader.ask("Hello")
    reader.wait_done()
    assert page.locator(".kill").count() == 0
    expect(page.locator("#servers")).to_be_hidden()


@pytest.mark.parametrize("how", ["button", "Escape"])
def test_an_answer_can_be_stopped(reader: Reader, gateway: StandIn, how: str):
    """What came is kept, and the gateway isn't read further."""
    gateway.script = Script(words=LONG, hold=threading.Event(), hold_after=5)
    page = reader.open()
    reader.ask("Go on")
    expect(page.locator(".prose")).to_contain_text("word4")
    if how == "button":
        page.get_by_role("button", name="Stop").click()
    else:
        page.keyboard.press("Escape")
    expect(page.locator(".outcome")).to_have_text("Stopped.")
    expect(page.locator(".prose")).to_contain_text("word4")
    reader.wait_done()
    assert gateway.was_aborted.wait(60)
    assert gateway.aborted == 1


def test_the_last_answer_can_be_made_again_and_the_last_question_edited(reader: Reader, gateway: StandIn):
    """Both replace what was there; the model gets only what is on the page."""
    page = reader.open()
    reader.ask("First")
    reader.wait_done()
    gateway.script.words = ["Anew."]
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".prose")).to_have_text("Anew.")
    reader.wait_done()
    reader.ask("Second")
    expect(page.locator(".turn")).to_have_count(2)
    reader.wait_done()
    page.get_by_role("button", name="Edit the question").click()
    field = page.get_by_role("textbox", name="The question, edited")
    expect(field).to_have_value("Second")
    field.fill("Third")
    field.press("Enter")
    expect(page.locator(".turn h2").last).to_have_text("Third")
    reader.wait_done()
    assert [message["content"] for message in gateway.asked[-1]["messages"]] == ["First", "Anew.", "Third"]


def test_an_error_in_the_middle_is_told_and_can_be_tried_again(reader: Reader, gateway: StandIn):
    gateway.script = Script(words=LONG, error_after=3, message="Layers 10-19 have no server.")
    page = reader.open()
    reader.ask("Go on")
    expect(page.locator(".problem h3")).to_have_text("The answer broke off.")
    expect(page.locator(".problem p")).to_have_text("Layers 10-19 have no server.")
    expect(page.locator(".prose")).to_have_text("word0 word1 word2")
    gateway.script = Script()
    page.locator(".problem").get_by_role("button", name="Try again").click()
    expect(page.locator(".prose")).to_have_text("One two three.")
    expect(page.locator(".problem")).to_have_count(0)


def test_a_connection_that_breaks_keeps_what_came(reader: Reader, gateway: StandIn):
    gateway.script = Script(words=LONG, break_after=3, pause_seconds=0.05)
    page = reader.open()
    reader.ask("Go on")
    expect(page.locator(".problem h3")).to_have_text("The connection to the gateway broke.")
    expect(page.locator(".prose")).to_have_text("word0 word1 word2")


@pytest.mark.parametrize(
    "raw",
    [
        [b"data: nonsense\n\n"],
        [b"data: 5\n\n"],
        [b"<html>a proxy's page</html>"],
        [b""],
        [b'data: {"choices": [{"delta": {"content": 7}}]}\n\n'],
        [b'data: {"error": 1}\n\n'],
        [b"\xff\xfe\x00data:"],
    ],
)
def test_what_is_no_answer_is_told(reader: Reader, gateway: StandIn, raw: list[bytes]):
    """A proxy, another program, a bug: the page says so, and stays usable."""
    gateway.script = Script(raw=raw)
    page = reader.open()
    reader.ask("Hello")
    expect(page.locator(".problem")).to_be_visible()
    reader.wait_done()


def test_an_answer_may_be_cut_anywhere_on_its_way(reader: Reader, gateway: StandIn):
    """Packets end within lines and within characters; routes may hold anything."""
    text = (
        'data: {"choices": [{"delta": {"content": "Grüße 🌍"}}], "p2pinfer": {"hops": [null, {"peer": 1}, '
        '{"peer": "QmA", "first_layer": 0, "end_layer": 1e9}, {"peer": "<b>QmBold</b>", "first_layer": 0, '
        '"end_layer": 4, "ms_per_token": "x"}], "events": [null, {"left": "x"}], '
        '"tokens_per_second": -1}}\r\n'
        '\r\n: still here\r\n\r\ndata: {"choices": [{"delta": {}, "finish_reason": "length"}]}\n\n'
        "data: [DONE]\n\n"
    )
    gateway.script = Script(raw=[bytes([byte]) for byte in text.encode()])
    page = reader.open()
    reader.ask("Hello")
    expect(page.locator(".prose")).to_have_text("Grüße 🌍")
    expect(page.locator(".outcome")).to_contain_text("greatest number of tokens")
    expect(page.locator(".hop .peer")).to_have_text("…ld</b>")


def test_a_busy_gateway_is_asked_again_when_it_said(reader: Reader, gateway: StandIn):
    """Retry-After is counted down, then the page tries by itself."""
    gateway.script = Script(status=429, retry_after="2", message="All places are taken.")
    page = reader.open()
    reader.ask("Hello")
    expect(page.locator(".problem")).to_contain_text("Tries again by itself in")
    gateway.script = Script()
    expect(page.locator(".prose")).to_have_text("One two three.")
    assert len(gateway.asked) == 2


def test_a_wait_ends_when_the_reader_goes_on(reader: Reader, gateway: StandIn):
    """The next question isn't asked twice, and the failed one isn't asked again."""
    gateway.script = Script(status=429, retry_after="3", message="All places are taken.")
    page = reader.open()
    reader.ask("First")
    expect(page.locator(".problem")).to_contain_text("Tries again by itself in")
    gateway.script = Script()
    reader.ask("Second")
    expect(page.locator(".prose").last).to_have_text("One two three.")
    page.wait_for_timeout(3_500)
    assert [asked["messages"][-1]["content"] for asked in gateway.asked] == ["First", "Second"]
    assert page.locator(".problem button").count() == 0


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (400, "refused"),
        (403, "doesn't allow this"),
        (404, "doesn't serve this model"),
        (413, "too long"),
        (500, "error"),
        (503, "can't answer now"),
    ],
)
def test_refusals_are_told_in_the_gateways_words(reader: Reader, gateway: StandIn, status: int, title: str):
    gateway.script = Script(status=status, message="Because of <b>this</b>.")
    page = reader.open()
    reader.ask("Hello")
    expect(page.locator(".problem h3")).to_contain_text(title)
    expect(page.locator(".problem p")).to_have_text("Because of <b>this</b>.")


def test_a_gateway_that_wants_a_key_gets_it(reader: Reader, gateway: StandIn):
    """The page asks for it, keeps it for this tab, and asks again when it is refused."""
    gateway.script = Script(key="sk-right")
    page = reader.page
    page.goto(gateway.url)
    dialog = page.get_by_role("dialog", name="This gateway wants a key")
    dialog.get_by_label("Key", exact=True).fill("sk-wrong")
    dialog.get_by_role("button", name="Use it").click()
    expect(dialog.get_by_label("Key", exact=True)).to_have_value("")
    dialog.get_by_label("Key", exact=True).fill("sk-right")
    dialog.get_by_role("button", name="Use it").click()
    expect(page.locator("#model")).to_be_enabled()
    reader.ask("Hello")
    expect(page.locator(".prose")).to_have_text("One two three.")
    assert page.evaluate("Object.values(localStorage).some((text) => text.includes('sk-right'))") is False
    assert page.evaluate("Object.values(sessionStorage).some((text) => text.includes('sk-right'))") is True
    gateway.script = Script(key="sk-other")
    reader.ask("Again")
    expect(dialog).to_be_visible()
    dialog.get_by_label("Key", exact=True).fill("sk-other")
    dialog.get_by_label("Keep it on this device").check()
    dialog.get_by_role("button", name="Use it").click()
    expect(page.locator(".prose").last).to_have_text("One two three.")
    assert page.evaluate("localStorage.getItem('p2pinfer.chat.key')") == "sk-other"


def test_going_offline_and_coming_back_is_told(reader: Reader):
    page = reader.open()
    reader.context.set_offline(True)
    expect(page.locator(".notice")).to_contain_text("This device is offline")
    reader.ask("Hello")
    expect(page.locator(".problem h3")).to_have_text("This device is offline.")
    reader.context.set_offline(False)
    expect(page.locator(".notice")).to_have_count(0)
    page.locator(".problem").get_by_role("button", name="Try again").click()
    expect(page.locator(".prose")).to_have_text("One two three.")


def test_hostile_answers_and_questions_do_nothing(reader: Reader, gateway: StandIn):
    """Markup, scripts, links to scripts and changes of direction are texts, wherever they come from."""
    hostile = (
        "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script> "
        "[a](javascript:document.title='owned') <svg onload=\"document.title='owned'\"> \u202egnp.exe\n\n"
        "```<b>\"'\n<script>document.title='owned'</script>\n```\n"
    )
    gateway.script = Script(words=[hostile], models=["m<script>document.title='owned'</script>"])
    page = reader.open()
    reader.ask(hostile)
    expect(page.locator(".prose pre")).to_be_visible()
    reader.wait_done()
    assert "owned" not in page.title().split("<")[0]
    assert page.locator("main img, main script, main a, main svg:not(.stair)").count() == 0
    assert "\u202e" not in page.locator("body").inner_text()
