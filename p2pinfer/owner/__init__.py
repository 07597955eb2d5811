"""The owner's side: policy, signals, consent, the ledger of signed work, statements."""
