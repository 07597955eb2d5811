"""Templates that strangers wrote: none hangs the process, fills its memory, or gets out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from p2pinfer.errors import ModelError, P2PInferError
from p2pinfer.model.text.chat_template import ChatTemplate
from p2pinfer.model.text.sandbox.budget import MOST_SIZE

CHAT: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]

DOUBLED = "{% set ns = namespace(x='ab', l=[1]) %}{% for i in range(60) %}"

MANY = "{% for a in range(99999) %}"
TWO = "{% set ns.y = ['x'] %}{% for i in range(50) %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}"

HOSTILE = {
    # Loops.
    "loops in loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "a loop that leaves everything out": "{% for a in range(99999) %}{% for b in range(99999) if false %}"
    "{% endfor %}{% endfor %}",
    "a loop over a filter": MANY + "{{ range(99999)|select('odd')|list|length }}{% endfor %}",
    "a filter that leaves everything out": MANY + "{{ range(99999)|reject('defined')|first }}{% endfor %}",
    "attributes of many": MANY + "{{ range(99999)|map(attribute='x')|list|length }}{% endfor %}",
    "a large body": "{% for a in range(99999) %}" + "{% set b = a + 1 %}" * 5000 + "{% endfor %}",
    "a macro that calls itself twice": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}"
    "{% endmacro %}{{ m(60) }}",
    "a macro that calls itself for ever": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "a loop that calls itself": "{% for a in [messages] recursive %}{{ loop([a, a]) }}{% endfor %}",
    "a call block in a call block": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call m() %}" * 40
    + "x"
    + "{% endcall %}" * 40,
    # Texts.
    "a text many times": "{{ ('x' * 999999999)|length }}",
    "many times a text": "{{ (999999999 * 'x')|length }}",
    "a list many times": "{{ ([1] * 999999999)|length }}",
    "a text doubled by plus": DOUBLED + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "a text doubled by tilde": DOUBLED + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "a text doubled in a block": DOUBLED
    + "{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "a text doubled by a filter block": DOUBLED
    + "{% set y %}{% filter upper %}{{ ns.x }}{{ ns.x }}{% endfilter %}{% endset %}"
    + "{% set ns.x = y %}{% endfor %}",
    "a text doubled by join": DOUBLED + "{% set ns.x = [ns.x, ns.x]|join %}{% endfor %}",
    "a text doubled by the method join": DOUBLED + "{% set ns.x = ''.join([ns.x, ns.x]) %}{% endfor %}",
    "a text doubled by replace": DOUBLED + "{% set ns.x = ns.x|replace('ab', 'abab') %}{% endfor %}",
    "a text doubled by the method replace": DOUBLED
    + "{% set ns.x = ns.x.replace('ab', 'abab') %}{% endfor %}",
    "a text doubled by format": DOUBLED + "{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}",
    "a text doubled by format_map": DOUBLED + "{% set ns.x = '{x}{x}'.format_map({'x': ns.x}) %}{% endfor %}",
    "a text doubled by percent": DOUBLED + "{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
    "a text escaped again and again": "{% set ns = namespace(x='<') %}{% for i in range(9999) %}"
    "{% set ns.x = ns.x|e|string|replace('&', '&&') %}{% endfor %}",
    "a wide format": "{{ '{:999999999}'.format(1)|length }}",
    "a width that comes from elsewhere": "{{ '{:{}}'.format(1, 999999999)|length }}",
    "a wide percent": "{{ ('%999999999d' % 1)|length }}",
    "a percent with a star": "{{ ('%*d' % (999999999, 1))|length }}",
    "wide padding": "{{ 'x'.ljust(999999999)|length }}{{ 'x'.center(999999999) }}{{ 'x'.zfill(999999999) }}",
    "wide indents": "{{ 'x\\ny'|indent(999999999) }}",
    "wide JSON": "{{ [1]|tojson(indent=999999999) }}",
    "JSON with wide separators": "{{ [1, 2]|tojson(separators=('x' * 3000000, ':')) }}",
    "wide tabs": "{{ '\\t'.expandtabs(999999999) }}",
    "translated": "{{ 'xxxx'.translate({120: 'x' * 3000000}) }}",
    "much output": "{% for a in range(99999) %}{{ 'x' * 9999 }}{% endfor %}",
    "much constant output": "{% for a in range(99999) %}" + "x" * 9999 + "{% endfor %}",
    "slices": "{% set x = 'x' * 3999999 %}{% for a in range(99999) %}{% set y = x[1:] %}{% endfor %}",
    "splits": "{% set x = 'x ' * 999999 %}{% for a in range(99999) %}{% set y = x.split() %}{% endfor %}",
    "comparisons": "{% set x = 'x' * 2999999 %}{% set y = x + 'y' %}{% for a in range(99999) %}"
    "{% set z = x in y %}"
    "{% set z = (x + 'a') == (x + 'b') %}{% endfor %}",
    # Values that hold a value twice that holds a value twice ...
    **{
        f"a nested list {how}": "{% set ns = namespace(x=['x']) %}{% for i in range(50) %}"
        "{% set ns.x = [ns.x, ns.x] %}{% endfor %}" + use
        for how, use in {
            "printed": "{{ ns.x }}",
            "as JSON": "{{ ns.x|tojson }}",
            "joined": "{{ ns.x|join }}{{ ns.x ~ 'x' }}",
            "as a text": "{{ ns.x|string|length }}",
            "formatted": "{{ '%s' % ns.x }}",
            "formatted otherwise": "{{ '{}'.format(ns.x) }}",
            "formatted in a tuple": "{{ '%s %s' % (1, ns.x) }}",
            "replaced": "{{ 'x'|replace('x', ns.x) }}{{ ns.x|replace('x', 'y') }}",
            "compared": TWO + "{{ ns.x == ns.y }}",
            "compared by a test": TWO + "{{ ns.x is eq ns.y }}",
            "looked for": TWO + "{{ ns.x in [ns.y] }}{{ [ns.y].index(ns.x) }}",
            "sorted": "{{ [ns.x, ns.x]|sort }}{{ [ns.x, ns.x]|unique|list }}{{ [ns.x, ns.x]|max }}",
            "in a default": "{{ nothing|default(ns.x) }}",
            "as an error": "{{ raise_exception(ns.x) }}",
            "in a macro": "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(ns.x) }}",
        }.items()
    },
    "a nested tuple as a key": "{% set ns = namespace(x=('x',)) %}{% for i in range(50) %}"
    "{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
    "a nested tuple as an index": "{% set ns = namespace(x=('x',)) %}{% for i in range(50) %}"
    "{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {}[ns.x] }}{{ {}.get(ns.x) }}",
    "a nested object": "{% set ns = namespace(x={}) %}{% for i in range(50) %}"
    "{% set ns.x = dict(a=ns.x, b=ns.x) %}{% endfor %}{{ ns.x }}",
    # Numbers.
    "a tower of powers": "{{ 9 ** 9 ** 9 ** 9 }}",
    "a negative power": "{{ (10 ** 60) ** 60 ** 2 }}",
    "a number squared again and again": "{% set ns = namespace(x=3) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x }}",
    "bytes of a number": "{{ (1).to_bytes(999999999, 'big') }}",
    "a rounded number": "{{ 1.5|round(999999999, 'ceil') }}",
    "a date": "{{ strftime_now('%999999999d' * 999) }}",
    "filler text": "{{ lipsum(n=99999) }}",
    # Ways out.
    "a class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__ }}",
    "a class by format": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "a class by an attribute filter": "{{ ['']|map(attribute='__class__')|list }}",
    "a function's insides": "{{ namespace.__init__.__globals__ }}",
    "a namespace's insides": "{% set ns = namespace(__class__=1) %}{{ ns }}",
    "the environment": "{{ self._TemplateReference__context.environment }}",
    "a file": "{% include '/etc/passwd' %}",
    "changing the messages": "{{ messages.append(1) }}{{ messages[0].update(a=1) }}{{ messages.clear() }}",
}


def outcome(template: str) -> str:
    """What a template renders, or the message of the error, which names the template."""
    try:
        return ChatTemplate({"default": template}, {}, "the template").render(CHAT)
    except P2PInferError as error:
        return f"refused: {error}"


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_template_ends_soon_and_gives_nothing_away(what: str):
    """With an error, or with a text of bounded length and no name of Python's insides."""
    start = time.process_time()
    shown = outcome(HOSTILE[what])

    assert len(shown) <= MOST_SIZE
    assert not any(word in shown for word in ("<class", "object at", "root:", "builtins"))
    assert time.process_time() - start < 60  # three at most on a quiet machine


@pytest.mark.parametrize("what", ["loops in loops", "a text doubled by plus", "a nested list printed"])
def test_what_is_too_much_is_the_templates_fault(what: str):
    """Not the user's: another conversation doesn't help."""
    with pytest.raises(ModelError, match="the template does more than a chat template may: it"):
        ChatTemplate({"default": HOSTILE[what]}, {}, "the template").render(CHAT)


def test_the_messages_of_a_caller_stay_as_they_are():
    chat = [{"role": "user", "content": "hi", "list": [1]}]
    ChatTemplate({"default": "{% set messages = messages + [1] %}{{ messages|length }}"}, {}, "it").render(
        chat
    )

    assert chat == [{"role": "user", "content": "hi", "list": [1]}]


def test_a_thread_can_render_again_after_an_error():
    template = ChatTemplate({"default": "{% if x %}{{ 'x' * 99999999 }}{% endif %}y"}, {}, "it")
    with pytest.raises(ModelError):
        template.render(CHAT, x=True)

    assert template.render(CHAT) == "y"
