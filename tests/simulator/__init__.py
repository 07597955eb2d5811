"""A whole swarm on a virtual clock: the client's and the server's own code over simulated wires.

What runs unchanged: the client's sessions, chains, splices, hops, directories, routing and recovery; the
server's handler, session table, step streams, batcher, outputs and next hops.

What is simulated, folder by folder:

- the ground floor: time (clock.py), the engine (arithmetic.py), the DHT (swarm.py)
- network/: machines, paths and sockets between them, lanes, gRPC calls
- server/: a server's process and its computing thread
- client/: the client's network, its carrier, and its blocking program
- world/: all of these together, and the places where they replace the real parts
- schedules/: the servers, texts and faults of a seed
- runs/: run a schedule, check what must always hold, report

`scripts/simulate --seed N --trace` shows one run.
"""
