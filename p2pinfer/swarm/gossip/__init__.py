"""What members of a cell tell each other of its members, beside the DHT.

Whoever stands around a key can hide what is kept there. It can't hide what all members of a cell have: so one
honest member is enough to see the cell. `table` says what a member remembers, `marks` what it tells whom,
`neighbours` whom it asks, `bounds` what all this may cost; `gossip` acts.
"""
