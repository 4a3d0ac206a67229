"""What `wtl inspect` finds out about tasks in seconds, before an hour of training is spent.

It plays a few episodes and compares them. It trains nothing of ours, and changes nothing.
"""

from metalearn.inspection.inspection import Inspection, inspect_dataset, inspect_family

__all__ = ["Inspection", "inspect_dataset", "inspect_family"]
