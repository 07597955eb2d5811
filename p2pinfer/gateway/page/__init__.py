"""The chat page: static files, and what serves them. Everything else happens in the browser."""
