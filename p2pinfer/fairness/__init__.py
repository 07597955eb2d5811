"""What one guest may take of what all share, decided in one place. Pure: callers bring time and amounts.

Guests are strangers: keys cost nothing, addresses little. So whatever a guest can take has a bound for its
key, for its source (`sources.py`: a network, or a peer of a tunnel), and in all; a part is kept for those
with merit (`merits.py`), who have signed for work here. `shares.py` bounds what is held, `rates.py` what is
used up, and `room.py` says who makes room for whom.
"""
