"""Which layers a server takes, when it joins and while it runs.

`choice` finds the layers that help most, `settling` lets servers that come at the same time spread out,
`moving` says when a running server goes elsewhere, and `asking` says whose records count. These are pure;
`roll_call` asks the servers.
"""
