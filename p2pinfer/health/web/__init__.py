"""The health page in a browser, its API and its metrics: one snapshot, rendered once, served from memory."""
