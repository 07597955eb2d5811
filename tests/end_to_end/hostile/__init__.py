"""Strangers against real processes."""
