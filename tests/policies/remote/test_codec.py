"""openpi's messages byte for byte, and what is not a message."""

from __future__ import annotations

import contextlib

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from policies.remote import codec
from policies.remote.codec import pack, unpack
from policies.remote.errors import MessageError

# {"a": np.array([1, 2], "<i2"), "b": np.float32(1.5)} as `openpi-client` 0.1.2 writes it.
OPENPI_BYTES = (
    b"\x82\xa1a\x84"
    b"\xc4\x0b__ndarray__\xc3"
    b"\xc4\x04data\xc4\x04\x01\x00\x02\x00"
    b"\xc4\x05dtype\xa3<i2"
    b"\xc4\x05shape\x91\x02"
    b"\xa1b\x83"
    b"\xc4\x0d__npgeneric__\xc3"
    b"\xc4\x04data\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00"
    b"\xc4\x05dtype\xa3<f4"
)


def array_message(**changes: object) -> bytes:
    fields = {b"__ndarray__": True, b"data": b"\0" * 8, b"dtype": "<f4", b"shape": [2]}
    return msgpack.packb({**fields, **{key.encode(): value for key, value in changes.items()}})


def test_bytes_are_openpis() -> None:
    message = {"a": np.array([1, 2], "<i2"), "b": np.float32(1.5)}
    assert pack(message) == OPENPI_BYTES
    found = unpack(OPENPI_BYTES)
    np.testing.assert_array_equal(found["a"], [1, 2])
    assert found["a"].dtype == np.int16
    assert (found["b"], type(found["b"])) == (1.5, np.float32)


def test_keys_of_text_are_read_and_written_for_who_has_no_others() -> None:
    asked = msgpack.packb(
        {
            "a": {"__ndarray__": True, "data": b"\1\0\2\0", "dtype": "<i2", "shape": [2]},
            "b": {"__npgeneric__": True, "data": 1.5, "dtype": "<f4"},
        }
    )
    found, text_keys = codec.read(asked)
    np.testing.assert_array_equal(found["a"], [1, 2])
    assert (found["a"].dtype, found["b"], type(found["b"])) == (np.int16, 1.5, np.float32)
    assert text_keys
    assert pack(found, text_keys) == asked
    assert codec.read(OPENPI_BYTES)[1] is False
    assert codec.read(pack({"data": 3, "shape": "round"})) == ({"data": 3, "shape": "round"}, False)
    for field, value in (("dtype", "|O"), ("shape", [3]), ("data", "text")):
        fields = {"__ndarray__": True, "data": b"\1\0\2\0", "dtype": "<i2", "shape": [2]}
        with pytest.raises(MessageError, match="array: expected"):
            unpack(msgpack.packb({**fields, field: value}))


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 0, 3), np.uint8),
        np.array(2.5),
        np.arange(6).reshape(2, 3)[:, ::2],
        np.array(["ab", "c"]),
        np.array([True, False]),
        np.arange(3, dtype=">i4"),
        {"nested": [np.ones(2, np.float16), None, b"raw", "text", 3, 1.5, True]},
    ],
)
def test_what_goes_in_comes_out(value: object) -> None:
    found = unpack(pack(value))
    if isinstance(value, np.ndarray):
        np.testing.assert_array_equal(found, value)
        assert found.dtype == value.dtype
    else:
        np.testing.assert_array_equal(found["nested"][0], [1, 1])
        assert found["nested"][1:] == [None, b"raw", "text", 3, 1.5, True]


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(
        st.sampled_from(["u1", "<i8", ">f4", "<f8", "?"]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    )
)
def test_any_array_comes_back_bit_for_bit(array: np.ndarray) -> None:
    found = unpack(pack(array))
    assert (found.dtype, found.shape, found.tobytes()) == (
        array.dtype,
        array.shape,
        array.tobytes(),
    )


@pytest.mark.parametrize(
    "value",
    [
        np.array([object()]),
        np.array([1j]),
        np.zeros(2, [("x", "i4")]),
        np.datetime64("2026-01-01"),
        object(),
        {1, 2},
        2**70,
    ],
)
def test_what_the_protocol_does_not_know_is_not_sent(value: object) -> None:
    with pytest.raises(MessageError, match="message: "):
        pack(value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "expected msgpack, got 0 bytes"),
        (b"\xc1", "expected msgpack"),
        (b"GET / HTTP/1.1", "expected msgpack"),
        (OPENPI_BYTES[:-1], "expected msgpack"),
        (OPENPI_BYTES + b"\0", "expected msgpack"),
        (b"\x81\x01\x02", "expected msgpack"),  # a number as a key
        (b"\xa2\xff\xfe", "expected msgpack"),  # no UTF-8
        (b"\x91" * 5000 + b"\xc0", "expected msgpack|at most 10000"),  # too deep
        (msgpack.packb([[[]] * 900] * 12), "at most 10000 maps and lists"),
        (msgpack.packb([[0] * 900] * 112), "at most 100000 values in maps and lists"),
        (msgpack.packb({str(key): None for key in range(257)}), "257 exceeds max_map_len(256)"),
        (msgpack.packb([0] * 1001), "1001 exceeds max_array_len(1000)"),
        (b"\xdd\xff\xff\xff\xff", "expected msgpack"),  # says that it is 4 billion long
        (msgpack.packb(msgpack.ExtType(5, b"x")), "extension types"),
        (array_message(dtype="|O"), "expected a dtype"),
        (array_message(dtype="O"), "expected a dtype"),
        (array_message(dtype="i4,i4"), "expected a dtype"),
        (array_message(dtype="(1000000000,)f8"), "expected a dtype"),
        (array_message(dtype=4), "expected a dtype"),
        (array_message(shape=[3]), "expected 12 bytes for shape (3,) of float32, got 8 bytes"),
        (array_message(shape=[-2]), "expected a shape"),
        (array_message(shape=[0, 2**40]), "expected a shape"),
        (array_message(shape=[True, 2]), "expected a shape"),
        (array_message(shape=[1] * 9), "expected a shape"),
        (array_message(shape="2"), "expected a shape"),
        (array_message(data="text"), "got str"),
        (array_message(data=[0] * 8), "got list"),
        (msgpack.packb({b"__ndarray__": True}), "expected a dtype"),
        (msgpack.packb({b"__npgeneric__": True, b"data": [], b"dtype": "<f4"}), "got list"),
        (msgpack.packb({b"__npgeneric__": True, b"data": 999, b"dtype": "|u1"}), "is no uint8"),
    ],
)
def test_malformed_bytes_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(MessageError) as caught:
        unpack(data)
    assert any(each in str(caught.value) for each in said.split("|"))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(data: bytes) -> None:
    with contextlib.suppress(MessageError):
        unpack(data)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(OPENPI_BYTES) - 1), st.integers(0, 255))
def test_no_flipped_byte_does_either(index: int, byte: int) -> None:
    data = bytearray(OPENPI_BYTES)
    data[index] = byte
    with contextlib.suppress(MessageError):
        unpack(bytes(data))


def test_the_limits_are_on_what_costs_memory_or_time() -> None:
    rows = codec.MAX_CONTAINERS // 1000
    assert len(unpack(msgpack.packb([[[]] * 998] * rows))) == rows
    assert len(unpack(msgpack.packb([[0] * 999] * 99))) == 99
    assert unpack(pack(np.arange(4_000_000))).sum() == 7_999_998_000_000  # an array is no list


def test_a_map_of_millions_of_keys_is_refused_at_its_head() -> None:
    """Reading the keys would take seconds, in which no other robot is served."""
    heads_only = b"\xdf" + (2**20).to_bytes(4, "big")
    with pytest.raises(MessageError, match=r"1048576 exceeds max_map_len\(256\)"):
        unpack(heads_only)
