"""Being a member, whatever happens to p2pd or to the peers that were known."""
