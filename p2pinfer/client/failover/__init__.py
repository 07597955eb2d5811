"""Keeping a session's chain whole: what to do after a failure, and taking over before a hop leaves."""
