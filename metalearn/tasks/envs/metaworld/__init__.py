"""Meta-World's tasks on MuJoCo: push and pick-place, push with a misleading demonstration, ML10.

Here belongs everything that needs `metaworld`.
"""
