"""The models that this machine gets from its swarm: found by name, opened by manifest, completed file by file.

Files come, in this order, from this machine's folders, from peers that hold them, and from the source that the
manifest names, by byte range. Source and peers work side by side where no peer has a file.
"""

from __future__ import annotations
