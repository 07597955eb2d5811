"""What comes from outside is bounded and checked here; what must stay inside is masked here."""
