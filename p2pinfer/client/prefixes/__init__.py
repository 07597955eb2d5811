"""Which beginnings of texts the servers keep for this client, and the names that they are kept under."""
