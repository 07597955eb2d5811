"""Files of a model from peer to peer: each machine fetches only its share, and gives on what it has."""
