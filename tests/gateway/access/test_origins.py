"""Which web pages may use a gateway, and what they can read."""

from __future__ import annotations

import pytest

from p2pinfer.gateway.access.origins import OriginRules, is_loopback, is_origin, refusal
from p2pinfer.gateway.config import GatewayConfig
from tests.gateway.asking import asking, error_of
from tests.gateway.stand_in import StandInModel

PEER = "/ip4/192.0.2.7/tcp/31330/p2p/12D3KooWKrxghex4d8r3ytG8GmgdenmZY35fKqY54GVYbd9LMeak"
KEYLESS = OriginRules(only_loopback_hosts=True, only_own_origin=True)


@pytest.mark.parametrize(
    ("host", "expected"),
    [("localhost", True), ("LOCALHOST.", True), ("127.0.0.1", True), ("127.1.2.3", True), ("[::1]", True),
     ("::ffff:127.0.0.1", True), ("chat.localhost", True), ("0.0.0.0", False), ("10.0.0.1", False),
     ("", False),
     ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("evil.example", False)],
)  # fmt: skip
def test_loopback_is_known_by_its_names(host: str, expected: bool):
    assert is_loopback(host) is expected


@pytest.mark.parametrize("text", ["null", "", "chat.example", "https://a/b", "ftp://a", "https://a:x"])
def test_what_browsers_never_send_is_no_origin(text: str):
    assert not is_origin(text)


@pytest.mark.parametrize(
    ("host", "origin"),
    [("evil.example", None), ("evil.example:8000", "http://evil.example:8000"), ("", None), ("[::1", None),
     ("127.0.0.1:99999", None), ("127.0.0.1:8000", "https://evil.example"), ("127.0.0.1:8000", "null"),
     ("127.0.0.1:8000", "http://127.0.0.1:9000"), ("127.0.0.1:8000", "http://["),
     ("127.0.0.1@evil.example", None)],
)  # fmt: skip
def test_a_page_from_elsewhere_is_refused(host: str, origin: str | None):
    """By its origin, or by the name that it gives to this machine (DNS rebinding)."""
    assert refusal(KEYLESS, host=host, origin=origin)


@pytest.mark.parametrize(
    ("host", "origin"),
    [("127.0.0.1:8000", None), ("localhost:8000", "http://localhost:8000"), ("[::1]:8000", "http://[::1]:8000")],
)  # fmt: skip
def test_programs_and_the_gateways_own_page_are_welcome(host: str, origin: str | None):
    assert refusal(KEYLESS, host=host, origin=origin) == ""


async def test_a_page_from_elsewhere_gets_an_error_also_for_a_preflight():
    async with asking(StandInModel()) as client:
        for method in ("GET", "OPTIONS"):
            answer = await client.request(method, "/v1/models", headers={"origin": "https://evil.example"})
            assert answer.status_code == 403 and error_of(answer)["code"] == "origin_refused"
            assert "access-control-allow-origin" not in answer.headers
        rebound = await client.get("/v1/models", headers={"host": "evil.example"})
    assert rebound.status_code == 403


async def test_an_allowed_page_may_ask_and_read_the_headers():
    rules = OriginRules(
        only_loopback_hosts=True, only_own_origin=True, allowed_origins={"https://chat.example"}
    )
    async with asking(StandInModel(), origins=rules) as client:
        client.headers["origin"] = "https://chat.example"
        answer = await client.get("/v1/models")
        preflight = await client.options(
            "/v1/chat/completions",
            headers={
                "access-control-request-method": "POST",
                "access-control-request-headers": "authorization, content-type",
            },
        )
        missing = await client.get("/v1/models/other")
    assert answer.headers["access-control-allow-origin"] == "https://chat.example"
    assert "x-p2pinfer-route" in answer.headers["access-control-expose-headers"]
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-headers"] == "authorization, content-type"
    assert missing.status_code == 404 and "access-control-allow-origin" in missing.headers


def config(*flags: str) -> GatewayConfig:
    return GatewayConfig.from_args(["--initial-peers", PEER, *flags])


def test_beyond_this_machine_keys_are_needed_or_given_up(capsys: pytest.CaptureFixture[str]):
    for flags in (["--host", "0.0.0.0"], ["--host", "gpu.example"], ["--api-keys", "k", "--no-keys"]):
        with pytest.raises(SystemExit) as ended:
            config(*flags)
        assert ended.value.code == 2
    assert "keys add" in capsys.readouterr().err
    assert config("--host", "0.0.0.0", "--no-keys").origins.only_own_origin
    with_keys = config("--host", "0.0.0.0", "--api-keys", "k").origins
    assert not with_keys.only_loopback_hosts and not with_keys.only_own_origin
    assert config().origins == KEYLESS.__class__(
        only_loopback_hosts=True, only_own_origin=True, allowed_origins=frozenset()
    )


@pytest.mark.parametrize("origin", ["chat.example", "https://a/b", "null"])
def test_an_origin_that_can_not_be_one_is_refused(origin: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        config("--allow-origin", origin)
    assert "an origin is expected" in capsys.readouterr().err
