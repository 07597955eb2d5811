"""The sources themselves, a file for each kind."""
