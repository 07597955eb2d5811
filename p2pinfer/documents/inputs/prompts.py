"""From a prompt with a place for a text to the request for an answer. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Self

from p2pinfer.errors import UsageError

CHAT_URL = "/v1/chat/completions"
COMPLETION_URL = "/v1/completions"

_PLACES = re.compile(r"\{(text|name)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTask:
    """What is asked about every text file of a job."""

    prompt: str
    map_prompt: str | None = None
    """For each piece of a text that is too long; None: such a text is an error."""
    reduce_prompt: str | None = None
    """For the answers about the pieces together; None: `prompt`."""
    system: str | None = None
    """What the conversation begins with."""
    max_tokens: int
    """The most tokens of each answer."""
    temperature: float = 0.0
    seed: int | None = None

    def checked(self) -> Self:
        """Itself. Raises UsageError, naming the flag, for a prompt without a place for the text."""
        if self.reduce_prompt is not None and self.map_prompt is None:
            raise UsageError("--reduce is for what --map has made of a long text: give both, or none")
        for flag, prompt in (
            ("--prompt", self.prompt),
            ("--map", self.map_prompt),
            ("--reduce", self.reduce_prompt),
        ):
            if prompt is not None and "{text}" not in prompt:
                raise UsageError(f'{flag} has no {{text}} in it, such as "Summarize: {{text}}"')
        return self

    def request(self, model: str, content: str, *, is_chat: bool) -> dict[str, Any]:
        """The body of a request about what `filled` has made."""
        body: dict[str, Any] = {"model": model}
        if is_chat:
            system = [] if self.system is None else [{"role": "system", "content": self.system}]
            body["messages"] = [*system, {"role": "user", "content": content}]
        else:
            body["prompt"] = content
        body |= {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return body if self.seed is None else body | {"seed": self.seed}


def filled(prompt: str, *, text: str, name: str) -> str:
    """The prompt with the text for `{text}` and the file's name for `{name}`.

    Everything else stays as it is: other braces, and what the text itself has of the kind.
    """
    values = {"text": text, "name": name}
    return _PLACES.sub(lambda place: values[place[1]], prompt)
