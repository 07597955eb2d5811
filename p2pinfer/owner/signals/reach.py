"""Whether an address can be reached: checked before a library connects there.

The libraries resolve names and connect in asyncio's executor, which can't be interrupted. After this check
their part takes no time. The check also gives clearer messages than the libraries do.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial

from p2pinfer.owner.signals.trouble import SourceError
from p2pinfer.threads import in_thread


async def reach(host: str, port: int, *, timeout_seconds: float, advice: str = "") -> None:
    """Open a TCP connection and close it. Raises SourceError, which says why that fails.

    `advice` says what the owner can do then.
    """
    try:
        async with asyncio.timeout(timeout_seconds):
            look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            found = await in_thread(look_up, name="owner-signal")
            await _connect_to_any(list(dict.fromkeys(str(address[0]) for *_, address in found)), port)
    except TimeoutError:
        raise SourceError(
            f"nobody answers within {timeout_seconds:g} s", kind="no answer", advice=advice
        ) from None
    except ConnectionRefusedError:
        raise SourceError("connection refused", kind="refused", advice=advice) from None
    except (socket.gaierror, UnicodeError, OverflowError):
        raise SourceError(f"{host} can't be found by name", kind="no name", advice=advice) from None
    except OSError as error:
        raise SourceError(
            f"it can't be reached ({error.strerror or error})", kind="unreachable", advice=advice
        ) from None


async def _connect_to_any(addresses: list[str], port: int) -> None:
    for number, address in enumerate(addresses, start=1):
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            if number == len(addresses):
                raise
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
