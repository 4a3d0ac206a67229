"""Task families: Gymnasium environments with experts, and rollouts of actors in them.

To add a family, write its module in `envs/` and give it one line in `FAMILIES` of `registry`; nothing else lists it.
`family` has the protocol of a family, and `envs/reach.py` is a small example in numpy.
"""
