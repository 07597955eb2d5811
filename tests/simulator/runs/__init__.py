"""Run a schedule, check what must always hold, report."""
