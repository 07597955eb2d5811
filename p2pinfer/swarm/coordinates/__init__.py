"""Where members are in the network: points whose distances are round trips. Pure: round trips in, points out.

`vivaldi` moves a point, `quantized` is the coarse form that is announced. `position` is what a member has:
its point, its round trips, what it announces, and what of that it keeps between processes.
"""
