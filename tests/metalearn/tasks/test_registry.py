"""Families are found by name; what is not a family is refused in one sentence."""

import pytest

from metalearn.data.errors import InvalidConfig
from metalearn.tasks.registry import FAMILIES, find_family


@pytest.mark.parametrize("name", ["reach-m3", "no.such.module:Family", "metalearn.config:DataConfig"])
def test_what_is_not_a_family_is_one_sentence(name: str):
    with pytest.raises(InvalidConfig) as caught:
        find_family(name)
    assert "\n" not in str(caught.value)


def test_every_registered_family_loads():
    for name in FAMILIES:
        assert find_family(name).name == name
