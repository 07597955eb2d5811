"""The format of Llama 3: a JSON object that is the whole answer, perhaps after a special token. One call.

{"name": "weather", "parameters": {"city": "Paris"}}
"""

from __future__ import annotations

from p2pinfer.model.grammar.tools.layout import NAME, CallLayout

_NAMED = ('"name"', ":", " ", f'"{NAME}"', ",", " ", '"parameters"', ":", " ")

LLAMA3 = CallLayout(
    name="llama3",
    mark="<|python_tag|>",
    is_marked=False,
    heads=(("{", *_NAMED), ("{", '"type"', ":", " ", '"function"', ",", " ", *_NAMED)),
    closing=("}",),
)
