"""A fleet of cars, simulated: the product's decisions about layers on a virtual clock, without sockets.

`machines` and `stays` say who is there and when, `board` what everybody sees, `service` what is really held,
`rules` and `petals` who takes which layers; `day` lets them live, `figures` counts, `command` prints.
"""
