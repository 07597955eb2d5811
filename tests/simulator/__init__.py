"""A whole swarm on a virtual clock: the client's and the server's own code over simulated wires.

What runs unchanged: sessions, keepers, chains, splices, hops, directories, routing and recovery of the
client; handler, session table, runner, batcher, outputs and next hops of the server. What is simulated: time
(clock.py), sockets (sockets.py), gRPC (calls.py, carrier.py), the server's thread (worker.py), the engine
(arithmetic.py), the DHT (swarm.py). A schedule (schedule.py) is what a seed stands for: servers, texts and
faults (faults.py). run.py runs one and says what was wrong; `scripts/simulate --seed N --trace` shows it.
"""
