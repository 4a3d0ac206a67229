"""Values survive the wire bit for bit, and no bytes at all crash the door."""

import contextlib
import gzip
import json
import math
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from service.codecs import decode_json, decode_msgpack, encode_json, encode_msgpack, gunzip
from service.errors import BodyTooLarge, MalformedBody

LIMIT = 10_000
DTYPES = st.sampled_from(["<f4", "<f8", ">f4", "<f2", "|u1", "<i8", ">i2", "|b1"])
ARRAYS = DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0)))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(ARRAYS)
def test_arrays_survive_msgpack_bit_for_bit(array: np.ndarray[Any, Any]) -> None:
    back = decode_msgpack(encode_msgpack({"x": [array]}), LIMIT)["x"][0]
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.tobytes() == array.astype(back.dtype).tobytes()


@given(hnp.arrays("<f4", hnp.array_shapes(), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_finite_arrays_survive_json(array: np.ndarray[Any, Any]) -> None:
    back = np.array(decode_json(encode_json({"x": array}), LIMIT)["x"], np.float32)
    assert back.tobytes() == array.tobytes()


@given(VALUES)
def test_values_survive_both(value: Any) -> None:
    assert decode_msgpack(encode_msgpack(value), LIMIT) == value
    assert decode_json(encode_json(value), LIMIT) == value


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(data: bytes) -> None:
    for decode in (decode_json, decode_msgpack, gunzip):
        with contextlib.suppress(MalformedBody, BodyTooLarge):
            decode(data, LIMIT)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 255))
def test_damaged_arrays_decode_or_are_refused(noise: bytes, place: int, byte: int) -> None:
    data = bytearray(encode_msgpack({"demos": [np.arange(6.0), np.float32(1)], "noise": noise}))
    data[place % len(data)] = byte
    with contextlib.suppress(MalformedBody, BodyTooLarge):
        decode_msgpack(bytes(data), LIMIT)


@given(st.binary(max_size=2000))
def test_gzip_inflates_to_the_limit_and_not_beyond(data: bytes) -> None:
    assert gunzip(gzip.compress(data), len(data)) == data
    if data:
        with pytest.raises(BodyTooLarge):
            gunzip(gzip.compress(data), len(data) - 1)


def test_arrays_are_what_openpi_sends() -> None:
    array = np.array([[1.5, 2.5]], np.float32)
    packed = {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": "<f4", b"shape": (1, 2)}
    assert msgpack.unpackb(encode_msgpack(array)) == packed | {b"shape": [1, 2]}
    np.testing.assert_array_equal(decode_msgpack(msgpack.packb(packed), LIMIT), array)
    scalar = {b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"}
    assert decode_msgpack(msgpack.packb(scalar), LIMIT) == 1.5


def test_json_may_begin_with_a_byte_order_mark() -> None:
    assert decode_json(b"\xef\xbb\xbf[1]", 10) == [1]


def test_json_says_nothing_that_is_not_json() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_json({"x": math.nan})


def test_objects_never_travel() -> None:
    for value in (np.array([object()]), object(), np.array(["2020"], "M8[s]")):
        for encode in (encode_json, encode_msgpack):
            if isinstance(value, np.ndarray) and encode is encode_json:
                continue
            with pytest.raises(TypeError):
                encode(value)


def test_zeros_after_a_gzip_member_are_no_member() -> None:
    assert gunzip(gzip.compress(b"ab") + bytes(20) + gzip.compress(b"c") + bytes(3), 10) == b"abc"
    with pytest.raises(MalformedBody):
        gunzip(bytes(20), 10)


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}', '{"x": [{"a": {"b": 1, "b": 1}}]}', '[[1], {"a": "x:y", "a": 2}]', '{"\\u0061": 1, "a": 2}'],
)
def test_two_values_of_one_name_are_refused(text: str) -> None:
    with pytest.raises(MalformedBody, match=r"has several values for '[ab]'") as caught:
        decode_json(text.encode(), 100)
    assert caught.value.expected == "each name once"


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\xa1x\x91\x81\xa1y\x82\xa1b\x01\xa1b\x01",  # in an object in a list
        b"\x82\xc4\x01a\x01\xc4\x01a\x02",  # names as bytes, as openpi's clients write them
        b"\x83\xa1b\x01\xa1a\x01\xd9\x01a\x02",  # the same name, written otherwise
    ],
)
@pytest.mark.parametrize("most", [3, 100])  # containers: fewer than bytes are counted
def test_two_values_of_one_name_are_refused_in_msgpack_too(data: bytes, most: int) -> None:
    with pytest.raises(MalformedBody, match=r"has several values for '[ab]'") as caught:
        decode_msgpack(data, most)
    assert caught.value.expected == "each name once"


def test_an_array_says_each_of_its_properties_once() -> None:
    named = {b"__ndarray__": True, b"data": b"12345678", b"dtype": b"<f8", b"shape": []}
    pairs = [*named.items(), (b"dtype", b"<i8")]
    packed = bytes([0x80 | len(pairs)]) + b"".join(msgpack.packb(part) for pair in pairs for part in pair)
    with pytest.raises(MalformedBody, match="has several values for 'dtype'"):
        decode_msgpack(packed, LIMIT)


@pytest.mark.parametrize("value", [{"a": "x:y", "b": [{"a": 1}, {"a": ":"}]}, [[1, 2], [3, 4]], "a:b", {"a:b": {}}, []])
def test_colons_and_names_that_return_elsewhere_are_no_second_value(value: object) -> None:
    assert decode_json(json.dumps(value).encode(), 100) == value
