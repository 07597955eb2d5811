"""The fetching side: which chunk is asked of whom, and what is done about peers that fail or lie."""
