"""How members reach each other: what may be dialled, relays, and holes in routers."""
