"""Strangers take what they can get while an honest client generates: what is left for it, and the cost."""
