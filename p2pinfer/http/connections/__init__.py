"""Connections of strangers: how long each is waited for, and which one goes when there are too many.

A connection waits until a whole request is there, and works until that is answered. What waits costs its
peer nothing, so it has little time (`patience.py`), and goes first when places are short (`places.py`).
"""
