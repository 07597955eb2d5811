"""How far it is to the servers that a route may go on to from here: whom to measure, and what to announce.

`following.py`, `hearsay.py` and `notes.py` decide, `round_trips.py` asks, `neighbours.py` does so again and
again.
"""
