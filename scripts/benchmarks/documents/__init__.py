"""Documents by the thousand: how fast, on which network, beside whom, and what kills do to them."""
