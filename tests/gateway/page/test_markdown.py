"""What Markdown becomes in the browser: a table of texts, growing texts, hostile texts."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from p2pinfer.gateway.page.files import page_files
from tests.gateway.page.conftest import Reader

_VERSION = next(iter(page_files().parts)).split("/")[0]

_SHOW = """async ([version, texts, isOpen]) => {
  const { Rendering } = await import(`/page/${version}/markdown/rendering.js`);
  const box = document.createElement("div");
  const rendering = new Rendering(box);
  const began = performance.now();
  texts.forEach((text, index) => rendering.show(text, isOpen || index < texts.length - 1));
  const took = performance.now() - began;
  return [box.innerHTML, took];
}"""


@pytest.fixture
def page(reader: Reader) -> Page:
    return reader.open()


def shown(page: Page, *texts: str, is_open: bool = False) -> str:
    """The markup of a text that grew through these states."""
    html: str = page.evaluate(_SHOW, [_VERSION, list(texts), is_open])[0]
    for plain in (' dir="auto"', ' rel="noopener noreferrer nofollow" target="_blank"'):
        html = html.replace(plain, "")
    return html


_TAKES = """async ([version, text]) => {
  const { Rendering } = await import(`/page/${version}/markdown/rendering.js`);
  const rendering = new Rendering(document.createElement("div"));
  const began = performance.now();
  rendering.show(text, true);
  return performance.now() - began;
}"""

CODE = (
    '<div class="code"><div class="codehead"><span>{language}</span>'
    '<button type="button" class="copy" data-copy="code">Copy</button></div>'
    '<pre tabindex="0" role="group" aria-label="{label}" dir="ltr"><code>{code}</code></pre></div>'
)


def code(text: str, language: str = "") -> str:
    """A code block's markup."""
    label = f"Code, {language}" if language else "Code"
    return CODE.format(language=language or "code", label=label, code=text)


TABLE = [
    ("plain", "<p>plain</p>"),
    ("one\n\ntwo", "<p>one</p><p>two</p>"),
    ("one\ntwo", "<p>one<br>two</p>"),
    ("*a* _b_ **c** __d__", "<p><em>a</em> <em>b</em> <strong>c</strong> <strong>d</strong></p>"),
    ("***e***", "<p><strong><em>e</em></strong></p>"),
    ("**a *b* c**", "<p><strong>a <em>b</em> c</strong></p>"),
    ("2 * 3 * 4, snake_case_name, 5 ** 6", "<p>2 * 3 * 4, snake_case_name, 5 ** 6</p>"),
    (r"\*a\* \\ \a", r"<p>*a* \ \a</p>"),
    ("`a*b*` ``a`b`` ` a `", "<p><code>a*b*</code> <code>a`b</code> <code>a</code></p>"),
    ("**a `**` b**", "<p><strong>a <code>**</code> b</strong></p>"),
    ("~~a~~ ~b", "<p><del>a</del> ~b</p>"),
    ("[a](https://b.example/c)", '<p><a href="https://b.example/c">a</a></p>'),
    ("[a](mailto:b@c.example)", '<p><a href="mailto:b@c.example">a</a></p>'),
    ("[a](https://b.example/c_(d))", '<p><a href="https://b.example/c_(d)">a</a></p>'),
    ('[**a**](https://b.example "t")', '<p><a href="https://b.example/"><strong>a</strong></a></p>'),
    ("![a](https://b.example/c.png)", '<p><a href="https://b.example/c.png">a</a></p>'),
    ("see https://b.example/c, or", '<p>see <a href="https://b.example/c">https://b.example/c</a>, or</p>'),
    ("<https://d.example>", '<p><a href="https://d.example/">https://d.example</a></p>'),
    ("[a] (b) [c]", "<p>[a] (b) [c]</p>"),
    ("[a](/etc/passwd) [b](javascript:alert(1)) [c](data:text/html,x)", "<p>a b c</p>"),
    ("# a #\n## b\n####### c", '<h3 class="level1">a</h3><h3 class="level2">b</h3><p>####### c</p>'),
    ("a\n===\nb\n---", '<h3 class="level1">a</h3><h3 class="level2">b</h3>'),
    ("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    ("- a\n- b", "<ul><li>a</li><li>b</li></ul>"),
    ("3. a\n4. b", '<ol start="3"><li>a</li><li>b</li></ol>'),
    ("1. a\n   - b\n     - c\n2. d", "<ol><li>a<ul><li>b<ul><li>c</li></ul></li></ul></li><li>d</li></ol>"),
    ("1. a\n\n2. b\n\n   c", "<ol><li>a</li><li>b<p>c</p></li></ol>"),
    ("* a\n    * b\n* c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
    ("- a\n  ```\n  b\n  ```", f"<ul><li>a{code('b')}</li></ul>"),
    ("- [ ] a\n- [x] b", "<ul><li>☐ a</li><li>☑ b</li></ul>"),
    ("a\n- b\n\nc", "<p>a</p><ul><li>b</li></ul><p>c</p>"),
    ("In\n1986. It", "<p>In<br>1986. It</p>"),
    ("> a\n> b\n>\n> c\n\nd", "<blockquote><p>a<br>b</p><p>c</p></blockquote><p>d</p>"),
    ("```python\na < b\n\n  c\n```\nd", f"{code(f'a &lt; b{chr(10)}{chr(10)}  c', 'python')}<p>d</p>"),
    ("~~~\n```\n~~~", code("```")),
    ("````\n```\n````", code("```")),
    ("```\na", code("a")),
    (
        "| a | b |\n|---|--:|\n| 1 | `x|y` |\n| 2 |",
        '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table><thead><tr>'
        '<th scope="col">a</th><th scope="col" class="right">b</th></tr></thead><tbody>'
        '<tr><td>1</td><td class="right"><code>x|y</code></td></tr>'
        '<tr><td>2</td><td class="right"></td></tr></tbody></table></div>',
    ),
    ("a | b\nc", "<p>a | b<br>c</p>"),
    ("<b>a</b> a<br>b &lt;i&gt;", "<p>&lt;b&gt;a&lt;/b&gt; a<br>b &lt;i&gt;</p>"),
    ("<script>x</script>", "<p>&lt;script&gt;x&lt;/script&gt;</p>"),
    ("a\r\nb\r\n\r\nc", "<p>a<br>b</p><p>c</p>"),
    ("`a\u202eb` \u2066c", "<p><code>a\ufffdb</code> \ufffdc</p>"),
    ("مرحبا", "<p>مرحبا</p>"),
    ("", ""),
    ("\n \n", ""),
]  # fmt: skip


def test_each_text_becomes_its_elements(page: Page):
    """All of the table, in one browser."""
    wrong = [(text, html) for text, expected in TABLE if (html := shown(page, text)) != expected]

    assert wrong == []


def test_a_text_that_grows_letter_by_letter_ends_as_if_it_had_come_whole(page: Page):
    """Settled blocks aren't touched again, so each cut has to leave the rest open."""
    whole = "\n\n".join(text for text, _ in TABLE if "\r" not in text)
    grown = page.evaluate(_SHOW, [_VERSION, [whole[:end] for end in range(len(whole) + 1)], False])[0]

    assert grown == page.evaluate(_SHOW, [_VERSION, [whole], False])[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("```py\nprint(", code("print(", "py")),
        ("a **bo", "<p>a <strong>bo</strong></p>"),
        ("a `co", "<p>a <code>co</code></p>"),
        ("a [b](https://c.exa", "<p>a b</p>"),
        ("2 ** ", "<p>2 **</p>"),
    ],
)
def test_what_has_no_end_yet_is_shown_as_what_it_will_be(page: Page, text: str, expected: str):
    """No stars and no ticks flicker while an answer streams."""
    assert shown(page, text, is_open=True) == expected


GIGANTIC = [
    "*" * 50_000,
    "*a " * 30_000,
    "**a *b " * 20_000,
    "*a* " * 20_000 + "*" * 20_000,
    "_a" * 50_000,
    "`" * 50_001,
    " `a ``b" * 15_000,
    "[" * 100_000,
    "[a](" * 30_000,
    "[](" + "(" * 50_000,
    "![" * 50_000 + "](" * 50_000,
    "> " * 50_000,
    "- " * 50_000,
    "1. " * 30_000,
    "\n".join("  " * depth + "- a" for depth in range(1000)),
    "-" + "\n" * 200_000 + "a",
    "```" + " " * 100_000 + "`",
    "| a |\n|-" + " " * 100_000 + "x",
    "|" * 100_000 + "\n" + "|-" * 50_000,
    "# " + " #" * 50_000 + "x",
    "a" * 1_000_000,
    "<" * 100_000,
    "https://" * 20_000,
    "&" * 100_000,
    "~~a" * 50_000,
    "\\" * 100_001,
    "* " * 50_000 + "x",
    "a\u202e" * 50_000,
]


def test_a_gigantic_line_costs_no_more_than_a_moment(page: Page):
    """A model can be made to say anything; the page must stay usable."""
    took = {f"{len(text)} of {text[:8]!r}": page.evaluate(_TAKES, [_VERSION, text]) for text in GIGANTIC}

    assert {text: milliseconds for text, milliseconds in took.items() if milliseconds > 5000} == {}


def test_a_long_answer_stays_smooth(page: Page):
    """5,000 tokens, drawn again and again as they come: a frame has 16 ms, the median takes half of it."""
    paragraph = "The **sea** is `deep` and *wide*, see [here](https://a.example).\n"
    texts = {
        "paragraphs": (paragraph + "\n") * 400,
        "one list": "".join(f"{number}. {paragraph}" for number in range(1, 400)),
        "one code block": "```python\n" + "x = compute(1, 2, 3)\n" * 1200,
        "one paragraph": paragraph.strip() * 400,
    }
    program = """async ([version, text]) => {
      const { Rendering } = await import(`/page/${version}/markdown/rendering.js`);
      const box = document.createElement("div");
      document.getElementById("thread").append(box);
      const rendering = new Rendering(box);
      const took = [];
      for (let end = 5; end < text.length; end += 100) {
        const began = performance.now();
        rendering.show(text.slice(0, end), true);
        took.push(performance.now() - began);
      }
      box.remove();
      return took.sort((a, b) => a - b)[Math.floor(took.length * 0.5)];
    }"""
    slow = {name: ms for name, text in texts.items() if (ms := page.evaluate(program, [_VERSION, text])) > 8}

    assert slow == {}
