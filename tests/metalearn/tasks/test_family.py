"""Splits and task ids."""

import pytest

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.family import SPLITS, TaskId


def test_splits_do_not_overlap_and_task_ids_survive_text():
    train, validation, test = (SPLITS[name] for name in ("train", "validation", "test"))
    assert train[-1] < validation[0] <= validation[-1] < test[0]
    assert TaskId.parse(str(TaskId("reach-m2", 17))) == TaskId("reach-m2", 17)
    with pytest.raises(InvalidConfig):
        TaskId.parse("reach-m2/..")
