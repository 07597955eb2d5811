"""Files on the way: what has come lies in part files, which outlive the process that fetches them."""
