"""Which layers a joining server takes.

`choice` finds the layers that help most, `settling` lets servers that come at the same time spread out, and
`asking` says whose records count. All three are pure; `roll_call` asks the servers.
"""
