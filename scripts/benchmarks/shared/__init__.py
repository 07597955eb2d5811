"""Tools of several benchmarks: flags, reports, prompts, and processes on any host."""
