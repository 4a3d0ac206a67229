"""The tree of errors, as it is drawn and as it is documented, is the tree of errors."""

import re
from pathlib import Path

from service import errors
from service.errors import PROBLEM_TYPE, ServiceError

API = Path(__file__).parents[2] / "docs" / "api.md"


def below(kind: type[ServiceError]) -> set[type[ServiceError]]:
    return set().union({kind}, *(below(one) for one in kind.__subclasses__() if one.__module__ == errors.__name__))


def test_the_tree_on_top_of_the_file_has_every_error_where_it_belongs() -> None:
    drawn: dict[str, tuple[str | None, str | None]] = {}
    parents: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        if found := re.match(r"([│ ]*[├└]── |)(\w+Error|[A-Z]\w+)(?: +(\d{3}))?(?: |$)", line):
            depth, name, status = len(found[1]), found[2], found[3]
            parents = [(d, n) for d, n in parents if d < depth]
            drawn[name] = (parents[-1][1] if parents else None, status)
            parents.append((depth, name))
    drawn = {name: where for name, where in drawn.items() if isinstance(getattr(errors, name, None), type)}
    real = {kind.__name__: kind for kind in below(ServiceError)}
    assert set(drawn) == set(real)
    for name, (parent, status) in drawn.items():
        if name != "ServiceError":
            assert real[name].__bases__[0].__name__ == parent
            assert status is None or int(status) == real[name].status


def test_every_type_of_a_problem_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| (\d{3}) \| ([^|]+) \|", API.read_text(), re.M)
    documented = {name: int(status) for status, names in rows for name in re.findall(r"`([a-z-]+)`", names)}
    answered = {kind.type: kind.status for kind in below(ServiceError) if hasattr(kind, "type")}
    del answered["conflict"]  # of no error that is raised
    assert {name: documented.get(name) for name in answered} == answered
    assert len({PROBLEM_TYPE + name for name in answered}) > 30
