"""Known RDMs, responses and lists of ids that the tests of this room write to files of every kind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))  # makers of files (``nwb_files``) are imported by name

IDS = ("face/a.png", "face/b.png", "häuser/c.png", "d", "10", "2")


@pytest.fixture
def ids() -> tuple[str, ...]:
    return IDS


@pytest.fixture
def listed(tmp_path: Path) -> str:
    """FILE:COLUMN of a list of the ids."""
    path = tmp_path / "metadata.csv"
    path.write_text("id,file\n" + "".join(f"{at},{each}\n" for at, each in enumerate(IDS)), encoding="utf-8")
    return f"{path}:file"


@pytest.fixture
def stack() -> np.ndarray:
    """RDMs of 4 subjects and 6 stimuli, float64 (4, 6, 6), every entry another number."""
    upper = np.triu_indices(6, 1)
    out = np.zeros((4, 6, 6))
    out[:, upper[0], upper[1]] = np.random.default_rng(1).uniform(0.1, 2.0, size=(4, 15))
    return out + out.transpose(0, 2, 1)


@pytest.fixture
def pairs(stack: np.ndarray) -> np.ndarray:
    """The upper triangles of `stack` in row order, written out by loops: float64 (4, 15)."""
    return np.array([[rdm[i, j] for i in range(6) for j in range(i + 1, 6)] for rdm in stack])


@pytest.fixture
def responses() -> np.ndarray:
    """Responses of 3 neuroids to the 6 stimuli, float64 (6, 3)."""
    return np.random.default_rng(2).normal(size=(6, 3))


@pytest.fixture
def save_73() -> Callable[..., Path]:
    """Write a .mat file as MATLAB 7.3 does: a 512-byte block, dimensions reversed, chars as uint16, references."""
    import h5py

    def fill(file: Any, group: Any, name: str, value: Any, *, reverse: bool) -> Any:
        if isinstance(value, dict):  # a struct: name -> value
            made = group.create_group(name)
            made.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, each in value.items():
                fill(file, made, key, each, reverse=reverse)
            return made
        if isinstance(value, str):
            made = group.create_dataset(name, data=np.array([[ord(each)] for each in value], dtype=np.uint16))
            made.attrs["MATLAB_class"] = np.bytes_("char")
            return made
        array = np.asarray(value)
        if array.dtype == object:  # a cell
            made = references(file, group, name, array, reverse=reverse)
            made.attrs["MATLAB_class"] = np.bytes_("cell")
            return made
        made = group.create_dataset(name, data=array.T if reverse else array)
        made.attrs["MATLAB_class"] = np.bytes_(
            {"float64": "double", "float32": "single"}.get(str(array.dtype), "uint8")
        )
        return made

    def references(file: Any, group: Any, name: str, array: np.ndarray, *, reverse: bool) -> Any:
        held = file.require_group("#refs#")
        out = np.empty(array.shape, dtype=h5py.ref_dtype)
        for at in np.ndindex(*array.shape):
            out[at] = fill(file, held, f"r{len(held)}", array[at], reverse=reverse).ref
        return group.create_dataset(name, data=out.T if reverse else out, dtype=h5py.ref_dtype)

    def save(path: Path, variables: dict[str, Any], *, reverse: bool = True) -> Path:
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, value in variables.items():
                array = np.asarray(value) if not isinstance(value, str | dict) else None
                if array is not None and array.dtype.names:  # a struct array
                    group = file.create_group(name)
                    group.attrs["MATLAB_class"] = np.bytes_("struct")
                    for key in array.dtype.names:
                        references(file, group, key, array[key], reverse=reverse)
                else:
                    fill(file, file, name, value, reverse=reverse)
        with path.open("r+b") as raw:
            raw.write(b"MATLAB 7.3 MAT-file, written by a test".ljust(128, b" "))
        return path

    return save


def struct_array(elements: np.ndarray, names: np.ndarray) -> np.ndarray:
    """A struct array with fields RDM and name, as scipy writes it."""
    out = np.empty(names.shape, dtype=[("RDM", object), ("name", object), ("color", object)])
    for at in np.ndindex(*names.shape):
        out[at] = (elements[at], names[at], np.array([[0.0, 0.0, 1.0]]))
    return out


@pytest.fixture
def sessions(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A struct array (1, 2, 2): 2 subjects, 2 sessions of `stack`; and the pairs it holds, (2, 2, 15)."""
    names = np.array(
        [[["IT | ANN | Session: 1", "IT | ANN | Session: 2"], ["IT | BOB | Session: 1", "IT | BOB | Session: 2"]]]
    )
    upper = np.triu_indices(6, 1)
    return struct_array(stack.reshape(1, 2, 2, 6, 6), names.astype(object)), stack[:, upper[0], upper[1]].reshape(
        2, 2, 15
    )
