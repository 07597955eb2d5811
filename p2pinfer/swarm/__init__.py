"""Who is there: identity, signed records in the DHT, tunnels. The only importer of hivemind."""

from __future__ import annotations

from p2pinfer.swarm.kademlia import lean_hivemind

lean_hivemind.install()  # before any module here imports hivemind
