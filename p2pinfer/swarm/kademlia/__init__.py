"""The distributed hash table: hivemind's Kademlia with every answer bounded and every record checked."""
