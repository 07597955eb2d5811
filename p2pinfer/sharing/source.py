"""Files from the source that a manifest names: read by byte range, converted, compared with the manifest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from p2pinfer.errors import StoreError
from p2pinfer.model.conversion import reconvert
from p2pinfer.model.formats.lookup import source_of
from p2pinfer.model.formats.weights import WeightSource
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.threads import in_thread


class StoreSource:
    """The source of one store's files. For the event loop; conversions run in threads of their own."""

    def __init__(self, store: LayerStore, say: Callable[[str], None]) -> None:
        self._store = store
        self._say = say
        self._source: WeightSource | None = None

    @property
    def exists(self) -> bool:
        """True if the manifest names a source that others can read."""
        return self._store.manifest.origin.hub_id is not None

    async def convert(self, names: Sequence[str]) -> None:
        """Put these files into the store.

        If this is cancelled, the thread ends at its next line of progress. Raises ModelError, StoreError.
        """
        given_up = threading.Event()

        def progress(line: str) -> None:
            if given_up.is_set():
                raise InterruptedError
            self._say(line)

        def work() -> None:
            if self._source is None:
                self._source = source_of(self._store.manifest.origin, progress)
            if self._source is None:
                raise StoreError(f"the manifest of {self._store.manifest.name} names no source")
            reconvert(self._source, self._store, names, progress)

        try:
            await in_thread(work)
        finally:
            given_up.set()
