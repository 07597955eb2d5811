"""The server's side: a process, and its computing thread."""
