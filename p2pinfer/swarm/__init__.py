"""Which peers are in the swarm: signed records in the DHT, and tunnels. Only this folder imports hivemind."""

from __future__ import annotations

from p2pinfer.swarm.kademlia import lean_hivemind

lean_hivemind.install()  # before any module here imports hivemind
