"""Messages as `openpi-client` 0.1 writes them: msgpack, an array as a map of its bytes.

An array is `{b"__ndarray__": True, b"data": bytes, b"dtype": "<f4", b"shape": [2, 3]}`, a NumPy
scalar `{b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"}`. The same with keys of text is
read, too, and written for who writes so: not every language has maps with keys of bytes
(JavaScript's objects have not). openpi adapted this from msgpack-numpy because that falls back to
pickle for objects; here nothing is ever unpickled either, and reading is stricter than openpi's: it
cannot be made to allocate more than a small multiple of the bytes that came, nor to keep whoever
reads busy for long.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgpack
import numpy as np

from policies.remote.errors import MessageError

# Booleans, integers, floats and text. No objects, structures, complex numbers or dates.
DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|[US]\d{1,4})")
MAX_DIMENSIONS = 8
TEXT_KEYS = ("__ndarray__", "__npgeneric__", "data", "dtype", "shape")
MAX_CONTAINERS = 10_000  # maps and lists in one message: each costs much more memory than bytes
MAX_KEYS, MAX_ITEMS = 256, 1000  # of one map, of one list: each costs time; numbers go as arrays
MAX_VALUES = 100_000  # keys and items of all maps and lists together


def pack(message: Any, text_keys: bool = False) -> bytes:
    """The bytes of a message; `text_keys`: arrays' keys are text, not bytes as openpi's.

    Raises `MessageError` for a value the protocol does not know.
    """
    try:
        return msgpack.packb(message, default=_pack_text if text_keys else _pack_numpy)
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(f"message: {error}") from error


def unpack(data: bytes) -> Any:
    """The message in some bytes; arrays are read-only views of them. Raises `MessageError`."""
    return read(data)[0]


def read(data: bytes) -> tuple[Any, bool]:
    """`unpack`, and whether an array or scalar in there has keys of text."""
    containers = values_in_all = 0
    text_keys = False

    def count(size: int) -> None:
        nonlocal containers, values_in_all
        containers += 1
        values_in_all += size
        if containers > MAX_CONTAINERS:
            raise MessageError(f"message: expected at most {MAX_CONTAINERS} maps and lists")
        if values_in_all > MAX_VALUES:
            raise MessageError(f"message: expected at most {MAX_VALUES} values in maps and lists")

    def on_map(values: dict) -> Any:
        nonlocal text_keys
        count(len(values))
        if "__ndarray__" in values or "__npgeneric__" in values:
            text_keys = True
            values = {name.encode(): values[name] for name in TEXT_KEYS if name in values}
        if b"__ndarray__" in values:
            return _unpack_array(values)
        if b"__npgeneric__" in values:
            return _unpack_scalar(values)
        return values

    def on_list(values: list) -> list:
        count(len(values))
        return values

    try:
        message = msgpack.unpackb(
            data,
            object_hook=on_map,
            list_hook=on_list,
            ext_hook=_refuse,
            max_map_len=MAX_KEYS,
            max_array_len=MAX_ITEMS,
        )
    except MessageError:
        raise
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        text = str(error) or type(error).__name__
        raise MessageError(f"message: expected msgpack, got {len(data)} bytes: {text}") from error
    return message, text_keys


def _pack_text(value: Any) -> Any:
    return {key.decode(): each for key, each in _pack_numpy(value).items()}


def _pack_numpy(value: Any) -> dict[bytes, Any]:
    if isinstance(value, np.ndarray | np.generic):
        if not DTYPE.fullmatch(value.dtype.str):
            raise MessageError(f"message: arrays of {value.dtype} are not sent")
        if isinstance(value, np.generic):
            return {b"__npgeneric__": True, b"data": value.item(), b"dtype": value.dtype.str}
        return {
            b"__ndarray__": True,
            b"data": value.tobytes(),
            b"dtype": value.dtype.str,
            b"shape": value.shape,
        }
    raise MessageError(f"message: values of type {type(value).__name__} are not sent")


def _dtype(values: dict) -> np.dtype:
    name = values.get(b"dtype")
    if not isinstance(name, str) or not DTYPE.fullmatch(name):
        raise MessageError(
            f"array: expected a dtype of booleans, integers, floats or text, got {name!r:.80}"
        )
    return np.dtype(name)


def _unpack_array(values: dict) -> np.ndarray:
    dtype, data, shape = _dtype(values), values.get(b"data"), values.get(b"shape")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_DIMENSIONS
        or not all(type(size) is int and 0 <= size < 2**31 for size in shape)
    ):
        raise MessageError(
            f"array: expected a shape of {MAX_DIMENSIONS} numbers at most, got {shape!r:.80}"
        )
    expected = math.prod(shape) * dtype.itemsize
    if not isinstance(data, bytes) or len(data) != expected:
        got = f"{len(data)} bytes" if isinstance(data, bytes) else type(data).__name__
        raise MessageError(
            f"array: expected {expected} bytes for shape {tuple(shape)} of {dtype}, got {got}"
        )
    return np.ndarray(shape=shape, dtype=dtype, buffer=data)


def _unpack_scalar(values: dict) -> np.generic:
    dtype, data = _dtype(values), values.get(b"data")
    if not isinstance(data, bool | int | float | str | bytes):
        raise MessageError(f"scalar: expected a number or text, got {type(data).__name__}")
    try:
        with np.errstate(over="raise"):
            return dtype.type(data)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise MessageError(f"scalar: {data!r:.80} is no {dtype}: {error}") from error


def _refuse(code: int, _data: bytes) -> Any:
    raise MessageError(f"message: extension types are not part of the protocol, got type {code}")
