"""Where members are in the network: points whose distances are round trips. Pure: round trips in, points out.

`vivaldi` moves a member's own point with each measurement; `quantized` is the coarse form that it announces.
"""
