"""Spoiled inputs for every reader of strangers' bytes, in processes that may crash.

Identities are free there, as in the tests whose readers these are: what is spoiled is signed anew, and what
nobody has paid would be refused before it is read.
"""

import os

os.environ["P2PINFER_PRICE_BITS"] = "0"  # before anything of the package is imported: it is read once
