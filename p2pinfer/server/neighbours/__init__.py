"""How far it is to the servers that a route may go on to from here: whom to measure, and what to announce.

`following.py` and `notes.py` decide; `round_trips.py` asks, and `neighbours.py` does so again and again.
"""
