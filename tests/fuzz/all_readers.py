"""Every reader of foreign bytes, by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz.reader import Reader
from tests.fuzz.readers import consumers, files, owners, reach, records, requests, sessions

READERS: Mapping[str, Callable[[], Reader]] = {
    **records.READERS,
    **consumers.READERS,
    **sessions.READERS,
    **reach.READERS,
    **files.READERS,
    **requests.READERS,
    **owners.READERS,
}
