"""The ledger: signed work, sessions, costs and changes of state, kept for good."""
