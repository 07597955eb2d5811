"""Reading the text of a policy, and its mistakes."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st

from p2pinfer.errors import UsageError
from p2pinfer.owner.policy.policy import Policy
from p2pinfer.owner.policy.policy_file import parse_policy


def problems(text: str) -> list[str]:
    """The lines of the error; the text begins in line 2, because line 1 says the version."""
    with pytest.raises(UsageError) as caught:
        parse_policy(f"version = 1\n{text}", "policy.toml")
    return str(caught.value).splitlines()


def parsed(text: str) -> Policy:
    return parse_policy(f"version = 1\n{text}", "policy.toml")


toml_soup = st.lists(
    st.sampled_from(
        [
            "[",
            "]",
            "{",
            "}",
            "[[",
            "]]",
            "=",
            ",",
            ".",
            "\n",
            "#",
            '"',
            "'",
            '"""',
            "a",
            "b",
            "1",
            " ",
            "\\",
            "a = 1\n",
        ]
    ),
    max_size=14,
).map("".join)
