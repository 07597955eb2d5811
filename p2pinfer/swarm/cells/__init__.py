"""Under which keys of the DHT a record is kept, and where a reader looks. Pure: what was read in, keys out.

A *tree* is what all servers of a model, or all models, form together. A *place* is a string of digits in it;
every prefix of a place is a *cell*, with a key of its own that keeps at most CAPACITY records. `climb` is the
server's rule, `descent` the reader's. They agree by the rule alone: nobody decides for others.
"""
