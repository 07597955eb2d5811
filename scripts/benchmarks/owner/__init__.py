"""What a server costs its owner, how soon it obeys, and whether its ledger survives a kill."""
