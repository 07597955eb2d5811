"""Statements for owners, and what sponsors owe and have paid."""
