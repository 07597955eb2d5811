"""The processes that benchmarks compare: each loads once, and works when it is asked."""
