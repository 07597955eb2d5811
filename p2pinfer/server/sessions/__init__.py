"""What the event loop owns of the sessions that are open: leases, accounts, the ways to next hops.

Steps are the computing thread's, in `server/streams`. `SessionRunner` and `RunningSession` are the way there.
"""
