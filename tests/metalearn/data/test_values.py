"""The rules of numbers, flags and columns that every format, the wire and the client share."""

from typing import Any

import numpy as np
import pytest
import torch

from metalearn.data.errors import InvalidData
from metalearn.data.names import near, refuse_unknown
from metalearn.data.values import any_flag, flag, flags, number, numbers

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True), (1, True), (1.0, True), (np.bool_(True), True), (np.uint8(1), True), (np.array([[1]]), True),
        ([1], True), (torch.tensor(True), True),
        (False, False), (0, False), (-0.0, False), (np.float32(0), False),
        (None, None), (NAN, None), (np.float16(NAN), None), (np.array([NAN]), None), ([None], None),
    ],
)  # fmt: skip
def test_a_flag_is_true_false_or_unknown(value: object, expected: bool | None) -> None:
    assert flag("success", value) is expected


@pytest.mark.parametrize("value", [2, -1, 0.5, float("inf"), "true", "", b"1", [], [1, 1], {}, 10**400, 1j, object()])
def test_any_other_flag_is_refused(value: object) -> None:
    with pytest.raises(InvalidData, match="success: expected true, false, 1, 0, or null"):
        flag("success", value)


@pytest.mark.parametrize(
    ("values", "last", "ever"),
    [
        ([NAN] * 6, None, None),
        ([0.0, 1.0, NAN], None, True),
        ([0.0, NAN, 0.0], False, None),
        ([[False], [True]], True, True),
        (np.zeros(3, np.uint16), False, False),
        ([None, True], True, True),
        (1, True, True),
    ],
)
def test_flags_of_steps(values: object, last: bool | None, ever: bool | None) -> None:
    found = flags("success", values)
    assert (found[-1], any_flag(found)) == (last, ever)


@pytest.mark.parametrize("values", [[0, 0.5, 1], [0, 2], ["no", "yes"], [[0, 1], [0, 1]], 2, [[0], [0, 1]]])
def test_flags_that_are_none_are_refused(values: object) -> None:
    with pytest.raises(InvalidData, match="success"):
        flags("success", values)


@pytest.mark.parametrize("value", [2.5, np.float32(2.5), np.array([2.5]), [2.5], torch.tensor([[2.5]])])
def test_a_number_comes_in_many_wrappings(value: object) -> None:
    assert number("reward", value) == 2.5


@pytest.mark.parametrize("value", ["2", [1, 2], NAN, float("inf"), {}, 10**400, torch.ones(2), object(), b"1"])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidData, match="reward: expected one finite number or null, got"):
        number("reward", value)


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.uint16, np.uint32, np.uint64, np.int8, np.float16, np.float64]
)
def test_numbers_of_every_real_type_are_numbers(dtype: Any) -> None:
    for value in (np.array([[0, 1]], dtype), np.array([[0, 1]], dtype).tolist()):
        assert np.array_equal(numbers("observations", value), np.array([[0, 1]], np.float32))


def test_a_tensor_that_cannot_be_read_is_said_and_one_that_can_is_read() -> None:
    assert numbers("observations", torch.ones(2, 1)).tolist() == [[1], [1]]
    with pytest.raises(
        InvalidData, match=r"observations: expected a rectangular array of numbers, got Tensor \(.*grad"
    ):
        numbers("observations", torch.ones(2, 1, requires_grad=True))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("action", "actions"),
        ("Observations", "observations"),
        ("obs", "observations"),
        ("sucess", "success"),
        ("q", None),
    ],
)
def test_an_unknown_name_is_refused_with_the_near_one(name: str, meant: str | None) -> None:
    known = ("observations", "actions", "rewards", "success")
    assert near(name, known) == meant
    with pytest.raises(InvalidData) as caught:
        refuse_unknown(["actions", name], known)
    assert caught.value.field == name
    assert (meant is None) == ("did you mean" not in caught.value.got)
    refuse_unknown(known, known)


@pytest.mark.parametrize(
    ("value", "got"), [([[1, 1e300]], r"1e\+300 at \[0, 1\]"), (np.array([-1e39]), r"-1e\+39 at \[0\]")]
)
def test_a_number_that_float32_cannot_hold_is_refused_with_the_range(value: object, got: str) -> None:
    with pytest.raises(InvalidData, match=rf"x: expected numbers from -3.4e\+38 to 3.4e\+38, got {got}"):
        numbers("x", value)
    assert np.isinf(numbers("x", [np.inf])).all()  # for whoever checks to say: it is no large number
