"""Documents by the thousand: how fast, on which network, beside whom, and what kills and memory do to them."""
