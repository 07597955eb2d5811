"""What this server sees when it looks at the servers of its model: their records, and who of them answers."""

from __future__ import annotations

import time

from p2pinfer.model.layer_store.names import layer_file
from p2pinfer.model.layer_store.store import LayerStore
from p2pinfer.server.neighbours.roster import Roster
from p2pinfer.server.placement.asking import credit_of, present
from p2pinfer.server.placement.choice import Newcomer, Sizes
from p2pinfer.server.placement.roll_call import RollCall
from p2pinfer.server.placement.view import View, view_of
from p2pinfer.swarm.swarm import Swarm


class Lookout:
    """One server's, for one model and numerics class."""

    def __init__(self, swarm: Swarm, store: LayerStore, *, numerics: str, sizes: Sizes) -> None:
        """`sizes`: how many layers this machine may take."""
        self.numerics = numerics
        self.roster = Roster(swarm, store.manifest.hash)
        """The records, for whoever wants to know who is here."""
        self._swarm = swarm
        self._store = store
        self._sizes = sizes

    def roll_call(self) -> RollCall:
        """A roll call, to be opened. Whom it has asked it doesn't ask again."""
        return RollCall(
            self._swarm.peer_id, self._store.manifest.num_layers, self._swarm.ways, self._swarm.position
        )

    async def look(self, roll_call: RollCall, wait_seconds: float) -> View:
        """The other servers, as far as they count. Waits so long for answers. Raises SwarmError."""
        manifest, us = self._store.manifest, self._swarm.peer_id
        servers = await self.roster.servers(within_seconds=0.0)
        records = [
            record for record in present(servers, us, manifest.num_layers) if record.numerics == self.numerics
        ]
        answered = await roll_call.call(records, wait_seconds)
        credit = credit_of(records, answered, manifest.num_layers)
        return view_of(records, credit, manifest.num_layers, time.time())

    def ourselves(self, layer_rate: float) -> Newcomer:
        """This server, as one that chooses. `layer_rate` is in layer-tokens per second."""
        manifest = self._store.manifest
        return Newcomer(
            peer_id=self._swarm.peer_id,
            model=manifest.hash,
            sizes=self._sizes,
            layer_rate=layer_rate,
            held=frozenset(
                layer for layer in range(manifest.num_layers) if self._store.has(layer_file(layer))
            ),
        )
