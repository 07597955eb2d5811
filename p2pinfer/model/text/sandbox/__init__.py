"""Renders templates that strangers wrote, within bounds: what a template may do, and how much of it."""
