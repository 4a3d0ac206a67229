"""The families that ship with the project, one module or folder per simulator.

Here belong environments and their experts. What a family *is* (`tasks.family`) and running actors in one
(`tasks.rollout`) know none of these modules.
"""
