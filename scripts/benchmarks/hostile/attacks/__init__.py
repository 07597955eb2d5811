"""The attacks of bench_hostile, each a function that goes on until it is cancelled."""
