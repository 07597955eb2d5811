"""What the owner allows and gets: policy, signals, consent, the ledger of signed work, statements."""
