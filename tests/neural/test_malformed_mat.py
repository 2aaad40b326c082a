""".mat files that are malformed, of versions 4, 5, 7 and 7.3: each mistake is one line that says what it is."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from netphys.errors import NetphysError
from netphys.neural import load_neural

IDS = tuple("abcdef")
GOOD = np.abs(np.subtract.outer(np.arange(6.0), np.arange(6.0)))


def element(kind: int, payload: bytes, n_bytes: int | None = None) -> bytes:
    """One data element; `n_bytes` is what it claims."""
    claimed = len(payload) if n_bytes is None else n_bytes
    return struct.pack("<II", kind, claimed) + payload + bytes(-len(payload) % 8)


def matrix(
    values: bytes | None = None,
    *,
    flags: bytes | None = None,
    of: int = 6,
    more: int = 0,
    dims: tuple[int, ...] = (6, 6),
    dims_kind: int = 5,
    name: bytes = b"x",
    kind: int = 9,
) -> bytes:
    """A matrix by its parts, each of which can be spoilt."""
    numbers = GOOD.T.tobytes() if values is None else values
    return element(
        14,
        (element(6, struct.pack("<II", of | more, 0)) if flags is None else flags)
        + element(dims_kind, struct.pack(f"<{len(dims)}i", *dims))
        + element(1, name)
        + (element(kind, numbers) if kind else numbers),
    )


def level_5(*elements: bytes, mark: bytes = b"IM", tail: bytes = b"") -> bytes:
    """A file of level 5."""
    return b"MATLAB 5.0 MAT-file".ljust(124, b" ") + struct.pack("<H", 0x0100) + mark + b"".join(elements) + tail


def compressed(inner: bytes, *, cut: int = 0, change: int | None = None) -> bytes:
    """A compressed element, its stream cut at the end, or a byte of it changed."""
    stream = bytearray(zlib.compress(inner))
    if change is not None:
        stream[change] ^= 0xFF
    stream = stream[: len(stream) - cut]
    return struct.pack("<II", 15, len(stream)) + bytes(stream)


def level_4(
    *,
    of: int = 0,
    rows: int = 6,
    columns: int = 6,
    imaginary: int = 0,
    length: int = 2,
    cut: int = 0,
    name: bytes = b"x\0",
) -> bytes:
    """A file of level 4."""
    whole = struct.pack("<5i", of, rows, columns, imaginary, length) + name + GOOD.T.tobytes() * (1 + imaginary)
    return whole[: len(whole) - cut]


def cells(payload: bytes, n: int = 1) -> bytes:
    """A cell array of n cells."""
    return matrix(payload, of=1, dims=(1, n), kind=0)


def struct_of(fields: bytes, length: int, payload: bytes) -> bytes:
    """A struct with names of `length` bytes."""
    return matrix(element(5, struct.pack("<i", length)) + element(1, fields) + payload, of=2, dims=(1, 1), kind=0)


def nested(depth: int) -> bytes:
    """A cell within a cell, and so on."""
    inner = matrix(name=b"")
    for _ in range(depth):
        inner = matrix(inner, of=1, dims=(1, 1), kind=0, name=b"")
    return cells(inner)


BYTES: dict[str, tuple[bytes, str]] = {
    # not such a file at all
    "a page of HTML": (b"<!DOCTYPE html><html><body>404 Not Found</body></html>", r"cannot be read as a \.mat file"),
    "a zip archive": (b"PK\x03\x04" + bytes(200), r"cannot be read as a \.mat file"),
    "a table of text": (b"stimulus,1,2\na,0,1\nb,1,0\n", r"no header of a \.mat file of level 4 or 5|cannot be read"),
    "zeros": (bytes(512), r"no header of a \.mat file|cannot be read as a \.mat file"),
    # the header of level 5
    "header cut": (level_5(matrix())[:100], r"cannot be read as a \.mat file"),
    "no byte order": (level_5(matrix(), mark=b"??"), r"cannot be read as a \.mat file"),
    "the other byte order": (level_5(matrix(), mark=b"MI"), r"is truncated: an element claims"),
    "header alone": (level_5(), r"has no variable 'x'"),
    "three bytes behind the end": (level_5(matrix(), tail=b"abc"), r"is truncated: 3 bytes are no element"),
    "a matrix cut": (level_5(matrix())[:-40], r"is truncated: an element claims \d+ bytes, \d+ are left"),
    # the parts of a matrix
    "an element of another type": (level_5(element(99, bytes(400))), r"has no variable 'x'"),
    "without a name": (level_5(matrix(name=b"")), r"has no variable 'x'"),
    "a name that is no text": (level_5(matrix(name=b"\xff\xfe")), r"UnicodeDecodeError"),
    "flags that are no numbers": (level_5(matrix(flags=element(16, bytes(8)))), r"an element of type 16 where numbers"),
    "no flags": (level_5(matrix(flags=element(6, b""))), r"IndexError"),
    "one dimension": (level_5(matrix(dims=(36,))), r"claims the dimensions \(36,\)"),
    "a negative dimension": (level_5(matrix(dims=(-6, 6))), r"claims the dimensions \(-6, 6\)"),
    "33 dimensions": (level_5(matrix(dims=(6, 6) + (1,) * 31)), r"claims the dimensions \(6, 6, 1"),
    "dimensions that are no numbers": (level_5(matrix(dims_kind=10)), r"an element of type 10 where numbers"),
    "more rows than numbers": (level_5(matrix(dims=(7, 6))), r"36 numbers for the dimensions \(7, 6\)"),
    "2^62 numbers": (level_5(matrix(dims=(2**31 - 1, 2**31 - 1))), r"36 numbers for the dimensions"),
    "no numbers": (level_5(matrix(b"")), r"0 numbers for the dimensions \(6, 6\)"),
    "half a number": (level_5(matrix(bytes(284))), r"buffer size must be a multiple"),
    "numbers of no type": (level_5(matrix(kind=10)), r"an element of type 10 where numbers should be"),
    "text for numbers": (level_5(matrix(kind=16)), r"an element of type 16 where numbers should be"),
    "numbers beyond the matrix": (
        level_5(matrix(element(9, bytes(80), n_bytes=288), kind=0)),
        r"288 bytes claimed, 80 left",
    ),
    "a small element of 7 bytes": (
        level_5(matrix(struct.pack("<II", (7 << 16) | 9, 0), kind=0)),
        r"a small element claims 7 bytes",
    ),
    "complex": (level_5(matrix(more=0x800)), r"x holds complex numbers; save real ones"),
    "a class of no name": (level_5(matrix(of=30)), r"x is a variable of class 30; save it as a full array of numbers"),
    "a function": (level_5(matrix(of=16)), r"x is a function; save it as a full array of numbers"),
    "an object": (level_5(matrix(of=3)), r"x is a object; save it as a full array of numbers"),
    "text of the wrong length": (
        level_5(matrix(element(16, b"abcde"), of=4, dims=(2, 3), kind=0)),
        r"5 characters for the dimensions \(2, 3\)",
    ),
    "text of no encoding": (
        level_5(matrix(element(16, b"\xff\xff"), of=4, dims=(1, 2), kind=0)),
        r"UnicodeDecodeError",
    ),
    "text of numbers": (level_5(matrix(element(9, bytes(16)), of=4, dims=(1, 2), kind=0)), r"type 9 where text"),
    # cells and structs
    "a cell that is no matrix": (
        level_5(cells(element(9, bytes(8)))),
        r"an element of type 9 where a matrix should be",
    ),
    "more cells than bytes": (level_5(cells(matrix(name=b""), n=10**6)), r"1000000 x 1 matrices in \d+ bytes"),
    "a cell too few": (level_5(cells(matrix(name=b""), n=2)), r"8 bytes claimed, 0 left"),
    "no cells": (level_5(cells(b"", n=0)), r"x is empty; choose another variable"),
    "cells in cells": (level_5(nested(20)), r"is nested deeper than 16; save the part that is needed"),
    "field names of length 0": (level_5(struct_of(b"RDM\0", 0, matrix(name=b""))), r"field"),
    "field names cut": (level_5(struct_of(b"RDM\0name", 5, matrix(name=b""))), r"field"),
    "fields of one name": (level_5(struct_of(b"RDM\0RDM\0", 4, matrix(name=b"") * 2)), r"field"),
    "a field without a value": (
        level_5(struct_of(b"RDM\0name", 4, matrix(name=b""))),
        r"bytes claimed, 0 left|matrices",
    ),
    # compressed
    "a stream that is none": (level_5(compressed(matrix(), change=0)), r"incorrect header check|cannot be read"),
    "a stream changed": (level_5(compressed(matrix(), change=-2)), r"incorrect data check|cannot be read"),
    "a stream cut": (level_5(compressed(matrix(), cut=4)), r"a compressed variable has no end"),
    "a stream of less than it claims": (
        level_5(compressed(struct.pack("<II", 14, 5000) + matrix()[8:])),
        r"a compressed variable claims 5000 bytes and has \d+",
    ),
    "a stream of more than it claims": (
        level_5(compressed(matrix() + bytes(4000))),
        r"a compressed variable has no end|claims",
    ),
    "a stream within a stream": (level_5(compressed(compressed(matrix()))), r"has no variable 'x'"),
    "a stream of nothing": (level_5(compressed(b"")), r"cannot be read as a \.mat file"),
    # level 4
    "level 4 cut": (level_4(cut=8), r"288 bytes claimed, 280 left"),
    "level 4 of a VAX": (level_4(of=2000), r"no header of a \.mat file of level 4 or 5"),
    "level 4 of no precision": (level_4(of=90), r"no header of a \.mat file of level 4 or 5"),
    "level 4 of no form": (level_4(of=7), r"no header of a \.mat file of level 4 or 5"),
    "level 4 of negative rows": (level_4(rows=-6), r"no header of a \.mat file of level 4 or 5"),
    "level 4 without a name": (level_4(length=0, name=b""), r"no header of a \.mat file of level 4 or 5"),
    "level 4 sparse": (level_4(of=2), r"x is sparse or complex; save it as a full array of real numbers"),
    "level 4 complex": (level_4(imaginary=1), r"x is sparse or complex; save it as a full array of real numbers"),
    "level 4 of a long name": (level_4(length=10**6), r"1000000 bytes claimed, \d+ left"),
    "level 4 followed by words": (level_4() + b"end", r"20 bytes claimed, 3 left"),
}


def _classed(file: h5py.File, name: str, value: object, matlab_class: str = "double") -> h5py.Dataset:
    made = file.create_dataset(name, data=value)
    made.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    return made


def _group(file: h5py.File, matlab_class: str, **fields: object) -> h5py.Group:
    made = file.create_group("x")
    made.attrs["MATLAB_class"] = np.bytes_(matlab_class)
    for name, value in fields.items():
        made[name] = value
    return made


def _sparse(file: h5py.File) -> None:
    _group(file, "double", data=np.ones(6), ir=np.arange(6), jc=np.arange(7)).attrs["MATLAB_sparse"] = np.uint64(6)


def _complex(file: h5py.File) -> None:
    _classed(file, "x", np.zeros((6, 6), dtype=[("real", "f8"), ("imag", "f8")]))


def _null(file: h5py.File) -> None:
    file.create_dataset("x", (1, 4), dtype=h5py.ref_dtype).attrs["MATLAB_class"] = np.bytes_("cell")


def _loop(file: h5py.File) -> None:
    cell = file.create_dataset("x", (1, 1), dtype=h5py.ref_dtype)
    cell.attrs["MATLAB_class"] = np.bytes_("cell")
    cell[0, 0] = cell.ref


def _gone(file: h5py.File) -> None:
    _classed(file, "away", GOOD)
    _classed(file, "x", np.array([[file["away"].ref]], dtype=h5py.ref_dtype), "cell")
    del file["away"]


def _empty(file: h5py.File) -> None:
    _classed(file, "x", np.array([0, 5], dtype=np.uint64)).attrs["MATLAB_empty"] = 1


def _columns_of_two_lengths(file: h5py.File) -> None:
    _classed(file, "held", GOOD)
    one = np.array([[file["held"].ref]], dtype=h5py.ref_dtype)
    _group(file, "struct", RDM=np.repeat(one, 3, axis=0), name=np.repeat(one, 2, axis=0))


def _words_of_numbers(file: h5py.File) -> None:
    _classed(file, "x", np.full((5, 1), -1.5), "char")


def _text(file: h5py.File) -> None:
    _classed(file, "x", np.array([[ord(each)] for each in "monkey"], dtype=np.uint16), "char")


def _dates(file: h5py.File) -> None:
    _classed(file, "x", np.zeros((6, 6), dtype="S8"))


def _scalar(file: h5py.File) -> None:
    _classed(file, "x", 1.0)


HDF5: dict[str, tuple[Callable[[h5py.File], object], str]] = {
    "7.3 without variables": (lambda file: None, r"has no variable 'x'"),
    "7.3 sparse": (_sparse, r"x is a sparse matrix; save it as a full array of numbers"),
    "7.3 complex": (_complex, r"x is \[\('real'.*save it as a full array of real numbers"),
    "7.3 references to nothing": (_null, r"a cell or field refers to nothing; fetch the file again"),
    "7.3 a cell that holds itself": (_loop, r"x holds itself; fetch the file again"),
    "7.3 references to what was deleted": (_gone, r"cannot be read as HDF5"),
    "7.3 an empty variable": (_empty, r"x is empty; choose another variable"),
    "7.3 a struct without fields": (lambda file: _group(file, "struct"), r"x is empty|no field 'RDM'"),
    "7.3 fields of two lengths": (_columns_of_two_lengths, r"the fields of /x are of different shapes"),
    "7.3 text of negative numbers": (_words_of_numbers, r"/x is no text|cannot be read"),
    "7.3 text for an RDM": (_text, r"x holds <U6; dissimilarities are real numbers"),
    "7.3 bytes for an RDM": (_dates, r"/x is \|S8; save it as a full array of real numbers"),
    "7.3 a table": (lambda file: _group(file, "table", any=GOOD), r"x is a table; save it as a full array of numbers"),
    "7.3 an object": (lambda file: _classed(file, "x", np.zeros((1, 6), np.uint32), "string"), r"x is a string; save"),
    "7.3 one number": (_scalar, r"x of shape \(\) is no RDM"),
}


def _refused(path: Path, told: str) -> None:
    with pytest.raises(NetphysError, match=told) as raised:
        load_neural(f"{path}?variable=x", ids=IDS)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


@pytest.mark.parametrize("mistake", BYTES)
def test_each_mistake_of_bytes_is_one_line(tmp_path: Path, mistake):
    spoilt, told = BYTES[mistake]
    (tmp_path / "data.mat").write_bytes(spoilt)
    _refused(tmp_path / "data.mat", told)


@pytest.mark.parametrize("mistake", HDF5)
def test_each_mistake_of_version_73_is_one_line(tmp_path: Path, mistake):
    spoil, told = HDF5[mistake]
    with h5py.File(tmp_path / "data.mat", "w", userblock_size=512) as file:
        spoil(file)
    _refused(tmp_path / "data.mat", told)


def test_unspoilt_they_load(tmp_path: Path):
    """Control: each builder makes a file that is read."""
    wanted = GOOD[np.triu_indices(6, 1)]
    held = {
        "matrix": level_5(matrix()),
        "compressed": level_5(compressed(matrix())),
        "cell": level_5(cells(matrix(name=b""))),
        "struct": level_5(struct_of(b"RDM\0", 4, matrix(name=b""))),
        "cells": level_5(nested(0)),
        "level 4": level_4(),
    }
    for name, data in held.items():
        (tmp_path / "data.mat").write_bytes(data)
        found = load_neural(f"{tmp_path / 'data.mat'}?variable=x", ids=IDS).dissimilarities
        np.testing.assert_array_equal(found, wanted[None], err_msg=name)
    with h5py.File(tmp_path / "seven.mat", "w", userblock_size=512) as file:
        _classed(file, "x", GOOD)
    np.testing.assert_array_equal(
        load_neural(f"{tmp_path / 'seven.mat'}?variable=x", ids=IDS).dissimilarities, wanted[None]
    )
