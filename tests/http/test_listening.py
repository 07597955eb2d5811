"""Where a web server listens."""

from __future__ import annotations

import pytest

from p2pinfer.errors import UsageError
from p2pinfer.http.listening import address_of, listen


@pytest.mark.parametrize("host", ["203.0.113.9", "a" * 100])
def test_an_address_of_another_machine_is_one_line_with_the_flags(host: str):
    with pytest.raises(UsageError, match=r"--host .* --port 0: can't listen there"):
        listen(host, 0)


def test_a_port_that_is_taken_is_named():
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}"):
            listen("127.0.0.1", port)


def test_the_address_of_a_listener_can_be_opened_in_a_browser():
    with listen("127.0.0.1", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}/"
