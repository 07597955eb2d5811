"""The processes that benchmarks compare: each loads its model once, and works when it is asked."""
