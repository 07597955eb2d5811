"""Text that not everything can hold."""

STRANGE = "caf\u00e9 \u2028 \x00 \ud800 \U0001f697"
"""Text with a line separator, a NUL and half of a surrogate pair, as JSON can hold it."""
