"""Frames that have come in part: how much memory they may take, and how long."""
