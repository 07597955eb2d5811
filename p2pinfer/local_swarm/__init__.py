"""The local swarm of the README: a small real model, a few server processes, one question."""
