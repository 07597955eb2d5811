"""A swarm of server processes on one machine. scripts/quickstart, tests and benchmarks start it."""
