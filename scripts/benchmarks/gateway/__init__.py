"""Many chats through one gateway, against the same texts without it."""
