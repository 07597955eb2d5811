"""Nobody measures through a gateway what others have asked, unless they share a salt."""

from __future__ import annotations

import pytest

from p2pinfer.gateway.access.keys import new_key
from tests.gateway.asking import asking, chat, error_of
from tests.gateway.stand_in import StandInModel


async def test_texts_of_different_keys_share_nothing():
    texts, keys = zip(*(new_key(name, created="2026-01-01", limits={}) for name in "ab"), strict=True)
    model = StandInModel()
    async with asking(model, keys=lambda: {key.id: key for key in keys}) as client:
        for text in texts:
            client.headers["authorization"] = f"Bearer {text}"
            assert (await chat(client)).status_code == 200
    assert [one.cache_scope for one in model.requests] == [key.id for key in keys]
    assert [one.cache_salt for one in model.requests] == [None, None]


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("chat/completions", {"messages": [{"role": "user", "content": "Hi!"}]}),
        ("completions", {"prompt": "Hi!"}),
        ("responses", {"input": "Hi!"}),
    ],
)
async def test_a_salt_is_handed_on(path: str, prompt: dict[str, object]):
    model = StandInModel()
    async with asking(model) as client:
        body = {"model": "tiny", "cache_salt": "team", **prompt}
        assert (await client.post(f"/v1/{path}", json=body)).status_code == 200
        assert (await client.post(f"/v1/{path}", json=body | {"cache_salt": None})).status_code == 200
    assert [one.cache_salt for one in model.requests] == ["team", None]


@pytest.mark.parametrize("salt", ["", "x" * 257, 5, ["team"]])
async def test_a_salt_is_a_text_of_bounded_length(salt: object):
    async with asking(StandInModel()) as client:
        answer = await chat(client, cache_salt=salt)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == "cache_salt"
