"""Registers every family with Gymnasium when it is imported: `gymnasium.make("wtl.envs:wtl/reach-m2-v0")` does so.

Since its version 1.0 Gymnasium looks for no entry points: a package registers its environments when it is imported.
"""

from metalearn.tasks.registry import register_envs

register_envs()
