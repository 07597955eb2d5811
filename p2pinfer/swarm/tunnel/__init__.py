"""Tunnels: connections through libp2p, from Unix socket to Unix socket, that outlive their streams.

`dialler` leads from here to a peer's service, `acceptor` from peers to ours. Both hold a `tunnel_end`, which
passes bytes between its local connection and the `link`, the stream that carries the tunnel now. What has
to be sent again on the next stream is decided in `state`, without I/O.
"""
