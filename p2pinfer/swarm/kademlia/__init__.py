"""The distributed hash table: hivemind's Kademlia, with all answers bounded and all records checked."""
