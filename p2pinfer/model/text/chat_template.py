"""A model's own chat template: from messages to the prompt that the model was trained on.

It renders as `transformers` does (5.23), with jinja2 alone. Templates come from strangers; `sandbox/` says
what bounds them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from p2pinfer.errors import ModelError, UsageError
from p2pinfer.model.text.files import read_text
from p2pinfer.model.text.named_tokens import TOKENIZER_CONFIG_FILE, read_named

TEMPLATE_FILE = "chat_template.jinja"
MOST_BYTES = 256 << 10
"""Of one template. The longest ones in use have about 30 KB."""

_MOST_TEMPLATES = 16
_REASONING = ("reasoning_content", "thinking", "reasoning")
_OWN = ("messages", "tools", "documents", "add_generation_prompt")
_MOST_DEPTH = 200


class ChatTemplate:
    """The templates of one model: `default`, and maybe `tool_use`. Threads may share it."""

    def __init__(self, templates: Mapping[str, str], tokens: Mapping[str, str], where: str) -> None:
        """`tokens` are the special tokens by role; `where` names the templates in messages.

        Raises ModelError if a template is no template.
        """
        from jinja2.exceptions import TemplateError
        from jinja2.meta import find_undeclared_variables

        from p2pinfer.model.text.sandbox.environment import BoundedEnvironment

        self._where = where
        self.text = "\n".join(templates.values())
        """The templates as they are written: they show what the model was trained on."""

        self._tokens = dict(tokens)
        self._environment = BoundedEnvironment()
        self._templates = {}
        self.has_tools = "tool_use" in templates
        """True if a template mentions tools: otherwise the model wouldn't see them."""

        for name, text in templates.items():
            if len(text.encode("utf-8", "replace")) > MOST_BYTES:
                raise ModelError(
                    f"{where} has more than {MOST_BYTES >> 10} KiB, which no chat template needs"
                )
            try:
                self.has_tools |= "tools" in find_undeclared_variables(self._environment.parse(text))
                self._templates[name] = self._environment.from_string(text)
            except TemplateError as error:
                raise ModelError(f"{where} is no chat template that p2pinfer runs: {_said(error)}") from error
            except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError) as error:
                raise ModelError(
                    f"{where} is nested too deeply, or is no template: {_said(error)}"
                ) from error

    @classmethod
    def load(cls, folder: Path) -> ChatTemplate:
        """Read a store's chat template. Raises ModelError if it is malformed, UsageError if there is none."""
        named = read_named(folder)
        own = read_text(folder / TEMPLATE_FILE, MOST_BYTES)
        if own is not None:
            return cls({"default": own}, named.roles, str(folder / TEMPLATE_FILE))
        templates = _by_name(named.config.get("chat_template"))
        if not templates:
            raise UsageError(
                f"the model in {folder} has no chat template, so it can't chat: complete texts with it "
                "(/v1/completions), or choose a model that was trained to chat"
            )
        return cls(templates, named.roles, f"the chat template in {folder / TOKENIZER_CONFIG_FILE}")

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt for a conversation.

        `tools` are JSON schemas, `variables` what the template knows besides.

        The text has the special tokens, so it is encoded without adding any. Raises UsageError if the
        template refuses the messages or can't render them (they may be too long), and ModelError if it
        wants more than it may do.
        """
        from jinja2.exceptions import SecurityError

        from p2pinfer.model.text.sandbox.budget import MOST_SIZE, OverBudgetError
        from p2pinfer.model.text.sandbox.environment import RaisedError, rendered

        for name in variables:
            if name in _OWN or not name.isidentifier() or name.startswith("_"):
                raise UsageError(f"a chat template can't be given {name[:80]!r} as a variable")
        values = {
            **self._tokens,
            **{name: _plain(value) for name, value in variables.items()},
            "messages": [_with_reasoning(_plain(message)) for message in messages],
            "tools": None if tools is None else _plain(tools),
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        template = self._templates[self._choice(tools is not None)]
        try:
            return rendered(self._environment, template, values)
        except RaisedError as error:
            raise UsageError(f"the model's chat template refuses the messages: {_said(error)}") from error
        except SecurityError as error:
            if isinstance(error, OverBudgetError) and _characters(values) > MOST_SIZE // 4:
                raise UsageError("the messages are too long for the model's chat template") from error
            raise ModelError(f"{self._where} does more than a chat template may: {_said(error)}") from error
        except Exception as error:
            raise UsageError(
                f"the model's chat template can't render these messages: {_said(error)} "
                f"({type(error).__name__})"
            ) from error

    def _choice(self, with_tools: bool) -> str:
        for name in ("tool_use", "default") if with_tools else ("default",):
            if name in self._templates:
                return name
        raise UsageError(f"{self._where} has several templates, and none is called default")


def _by_name(said: Any) -> dict[str, str]:
    """The templates of tokenizer_config.json: a text, or a list of names and texts."""
    if isinstance(said, str):
        return {"default": said}
    if not isinstance(said, list) or len(said) > _MOST_TEMPLATES:
        return {}
    return {
        one["name"]: one["template"]
        for one in said
        if isinstance(one, dict) and isinstance(one.get("name"), str) and isinstance(one.get("template"), str)
    }


def _plain(value: Any, depth: int = 0) -> Any:
    """A copy of JSON data, of nothing but plain types: a template can call what it is given."""
    if depth > _MOST_DEPTH:
        raise UsageError(f"the messages are nested more than {_MOST_DEPTH} deep")
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, Mapping):
        return {_plain(key, depth + 1): _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    raise UsageError(f"a chat template is given JSON, and a {type(value).__name__} isn't any")


def _characters(value: Any) -> int:
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    return (
        sum(map(_characters, value))
        if isinstance(value, list)
        else len(value)
        if isinstance(value, str)
        else 0
    )


def _with_reasoning(message: Any) -> dict[str, Any]:
    """A message whose reasoning has every name that templates know it by."""
    if not isinstance(message, dict):
        raise UsageError("each message is an object with a role and a content")
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    if reasoning is None:
        return message
    return {"thinking": reasoning, **message, "reasoning_content": reasoning}


def _said(error: BaseException) -> str:
    """What an error says, in one line of bounded length."""
    return " ".join(str(error).split())[:300]
