"""What a set of servers holds and can do. Pure: records or spans in, numbers out.

`stretches` cuts the layers into pieces that the same servers hold; `strength` says what a model's servers can
do together, where they are weakest, and where another one is wanted.
"""
