"""Images in an HDF5 file from elsewhere: which dataset holds them, in which order its axes are, what belongs to them.

Nothing is guessed where two answers are possible. MATLAB's v7.3 files are HDF5 with the axes the other way round: their
images, y by x by colour by stimulus, lie there as stimulus, colour, x, y.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import FileError, StimulusError, near
from netphys.guards import RATIO, require_claim
from netphys.hdf5_columns import fixed_text
from netphys.stimuli.readers.decoding import MAX_PIXELS
from netphys.stimuli.readers.folder import Found
from netphys.stimuli.readers.hdf5_kept import HeldFile
from netphys.stimuli.readers.hdf5_layouts import runs
from netphys.stimuli.readers.hdf5_strings import read_strings
from netphys.stimuli.sources import gathered, value_digest

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ForeignImages", "read_foreign"]

log = logging.getLogger(__name__)

_MOST_CHUNK_BYTES = 1 << 28  # HDF5 unpacks a whole chunk to read a part of it
_MOST_STIMULI = 20_000_000
_MOST_COLUMNS = 10_000
_ORDERS = {3: ("nyx",), 4: ("nyxc", "ncyx")}
_MATLAB_ORDERS = {3: ("nxy",), 4: ("nxyc", "ncxy")}


class ForeignImages:
    """Images of one dataset, read when they are asked for, and checked then.

    Parameters
    ----------
    held : HeldFile
        The file.
    where : str
        The dataset.
    order : str
        Its axes, as ``"nyxc"``.
    n_stimuli : int
        How many there are.
    """

    fields = ("image",)

    def __init__(self, held: HeldFile, where: str, order: str, n_stimuli: int) -> None:
        self._held, self._where, self._order, self._n = held, where, order, n_stimuli
        self.ids: Sequence[str] = ()  # for messages

    def __len__(self) -> int:
        return self._n

    def read(self, field: str, indices: np.ndarray) -> Any:
        return gathered(self._images(np.asarray(indices, dtype=np.int64)))

    def digests(self, indices: np.ndarray) -> list[Any]:
        rows = np.asarray(indices, dtype=np.int64)
        return [value_digest(each) for at in range(0, len(rows), 32) for each in self._images(rows[at : at + 32])]

    def conversions(self, indices: np.ndarray) -> list[tuple[str, ...]]:
        return [self._words()] * len(indices)

    def _words(self) -> tuple[str, ...]:
        with self._held.reading() as file:
            data = file[self._where]
            grey = "c" not in self._order or data.shape[self._order.index("c")] == 1
        return ("grey repeated",) if grey else ()

    def _images(self, rows: np.ndarray) -> list[np.ndarray]:
        """Read images as (3, y, x)."""
        at, found = self._order.index("n"), []
        with self._held.reading() as file:
            data = file[self._where]
            for first, last in runs(rows):
                part = data[(slice(None),) * at + (slice(first, last),)]
                found += list(np.moveaxis(part, at, 0))
        axes = self._order.replace("n", "")
        turned = [np.transpose(each, [axes.index(axis) for axis in "cyx" if axis in axes]) for each in found]
        return [self._checked(each, row) for each, row in zip(turned, rows, strict=True)]

    def _checked(self, image: np.ndarray, row: int) -> np.ndarray:
        """Return one image as it is shown, or say what is wrong with it."""
        if image.dtype != np.uint8:
            low, high = (float(image.min()), float(image.max())) if image.size else (0.0, 1.0)
            if not (low >= 0 and high <= 1):
                hint = "; save them as uint8" if low >= 0 and 1 < high <= 255 else ""
                name = self.ids[row] if len(self.ids) else str(row)
                raise StimulusError(
                    f"{self._held.path}: stimulus {name!r} of {self._where}: float images are in [0, 1]; "
                    f"this one is in [{low:.3g}, {high:.3g}]{hint}"
                )
            image = image.astype(np.float32)
        if image.ndim == 2:
            image = image[None]
        return np.ascontiguousarray(np.repeat(image, 3, axis=0) if image.shape[0] == 1 else image)


def read_foreign(
    path: Path,
    *,
    dataset: str | None,
    ids: str | Sequence[str] | None,
    metadata: Sequence[str] | pd.DataFrame | None,
    order: str | None,
) -> Found:
    """Read a file from elsewhere: see :func:`netphys.stimuli.readers.hdf5.read_hdf5`."""
    held = HeldFile(path, ratio=RATIO)
    with held.closing_on_failure(), held.reading() as file:
        data = dict(_datasets(file))
        where = _chosen(path, data, dataset, order)
        order = _order(path, where, data[where], order)
        _require_readable(path, where, data[where], order)
        n = int(data[where].shape[order.index("n")])
        table = _table(_Columns(path, data, n), metadata, ids)
    source = ForeignImages(held, where, order, n)
    source.ids = list(table["stimulus_id"])
    with held.closing_on_failure():
        source.read("image", np.arange(1))  # a wrong range is said at once
    return Found(source, table, path.stem)


def _datasets(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """List the datasets below a group by their paths; each group once."""
    import h5py

    waiting, seen = [(above, group)], set()
    while waiting:
        where, here = waiting.pop()
        address = h5py.h5o.get_info(here.id).addr
        if address in seen:
            continue
        seen.add(address)
        for name, item in here.items():
            if isinstance(item, h5py.Group):
                waiting.append((f"{where}{name}/", item))
            elif isinstance(item, h5py.Dataset) and item.shape is not None:
                yield f"{where}{name}", item


def _chosen(path: Path, data: Mapping[str, Any], dataset: str | None, order: str | None) -> str:
    """Name the dataset of the images."""
    if dataset is not None:
        where = dataset.strip("/")
        if where not in data:
            raise StimulusError(f"{path} has no dataset {dataset!r}{near(where, data)}")
        return where
    found = [where for where, each in data.items() if _may_be_images(each, order)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(f"{where} {tuple(data[where].shape)}" for where in found[:6])
        raise StimulusError(f"{path} has {len(found)} datasets that may be images: {listed}; dataset=NAME says which")
    listed = ", ".join(f"{where} {tuple(each.shape)} {each.dtype}" for where, each in list(data.items())[:6]) or "none"
    raise StimulusError(f"{path} has no dataset that looks like images (stimulus, y, x, 3), uint8 or float: {listed}")


def _may_be_images(data: Any, order: str | None) -> bool:
    if data.dtype != np.uint8 and data.dtype.kind != "f":
        return False
    if order is not None:
        return data.ndim == len(order)
    return min(data.shape, default=0) > 0 and bool(_orders(data))


def _orders(data: Any) -> list[str]:
    """List the orders that the axes of a dataset may be in."""
    known = _MATLAB_ORDERS if "MATLAB_class" in data.attrs else _ORDERS
    return [each for each in known.get(data.ndim, ()) if "c" not in each or data.shape[each.index("c")] in (1, 3)]


def _order(path: Path, where: str, data: Any, order: str | None) -> str:
    """Find out the order of the axes, or see that the one that is said can be."""
    shape = tuple(data.shape)
    if order is None:
        found = _orders(data)
        if len(found) == 1 and not (data.ndim == 3 and shape[-1] == 3):
            return found[0]
        asked = found or ["nyxc", "ncyx", "nyx"]
        if data.ndim == 3 and shape[-1] == 3:
            raise StimulusError(f"{path}: {where} {shape} may be grey images or one in colour; order=nyx says grey")
        raise StimulusError(
            f"{path}: {where} is {shape}; which axis is the colour? say order={' or order='.join(asked)}"
        )
    if len(set(order)) != len(order) or set(order) not in ({"n", "y", "x"}, {"n", "y", "x", "c"}):
        raise StimulusError(f"order={order!r} is no order of n (stimulus), y, x and c (colour); say for example nyxc")
    if len(order) != data.ndim:
        raise StimulusError(f"{path}: {where} is {shape}; order={order} has {len(order)} axes")
    if "c" in order and shape[order.index("c")] not in (1, 3):
        raise StimulusError(f"{path}: {where} is {shape}; order={order} would be {shape[order.index('c')]} colours")
    return order


def _require_readable(path: Path, where: str, data: Any, order: str) -> None:
    """See that a stimulus of the dataset can be read by itself."""
    if data.dtype != np.uint8 and data.dtype.kind != "f":
        raise StimulusError(f"{path}: {where} is {data.dtype}; images are uint8, or float in [0, 1]")
    sizes = {axis: int(length) for axis, length in zip(order, data.shape)}
    if not all(sizes.values()):
        raise StimulusError(f"{path}: {where} is {tuple(data.shape)}; it holds no stimulus")
    if sizes["y"] * sizes["x"] > MAX_PIXELS:
        raise StimulusError(f"{path}: {where} has {sizes['x']} x {sizes['y']} pixels a stimulus, over {MAX_PIXELS}")
    if sizes["n"] > _MOST_STIMULI:
        raise StimulusError(f"{path}: {where} has {sizes['n']} stimuli, more than {_MOST_STIMULI}")
    if data.chunks is not None and math.prod(data.chunks) * data.dtype.itemsize > _MOST_CHUNK_BYTES:
        raise FileError(f"{path}: {where} lies in chunks of {data.chunks}, over 256 MiB; save it in smaller ones")


class _Columns:
    """Datasets of one value a stimulus: strings or numbers.

    Parameters
    ----------
    path : Path
        The file.
    data : mapping
        All its datasets by path.
    n : int
        How many stimuli there are.
    """

    def __init__(self, path: Path, data: Mapping[str, Any], n: int) -> None:
        self.path, self.n, self._data = path, n, data
        self._texts: dict[str, list[str]] = {}

    def read(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Read the columns of these names; what is none is left out."""
        for name in names:
            if name not in self._data:
                raise StimulusError(f"{self.path} has no dataset {name!r}{near(name, self._data)}")
        known = [name for name in names if self._is_column(self._data[name])][:_MOST_COLUMNS]
        any_length = [name for name in known if self._text(name) and self._text(name).length is None]
        texts = read_strings(self.path, any_length, self.n) if any_length else {}
        return {name: texts[name] if name in texts else self._plain(name) for name in known}

    def one(self, name: str) -> np.ndarray:
        """Read a column that must be one."""
        name = name.strip("/")
        found = self.read([name]).get(name)
        if found is None:
            shape, dtype = tuple(self._data[name].shape), self._data[name].dtype
            raise StimulusError(f"{self.path}: {name} {shape} {dtype} is no column of {self.n} strings or numbers")
        return found

    def all(self) -> dict[str, np.ndarray]:
        """Read all columns there are."""
        return self.read(list(self._data))

    def _text(self, name: str) -> Any:
        import h5py

        return h5py.check_string_dtype(self._data[name].dtype)

    def _is_column(self, data: Any) -> bool:
        import h5py

        if data.size != self.n or max(data.shape, default=0) != self.n or data.ndim > 2:
            return False  # MATLAB's columns are (n, 1) or (1, n)
        if fixed_text(data, "MATLAB_class") in ("char", "cell"):
            return False  # one text by its codes; references
        known = data.dtype.kind in "biuf" and data.dtype.itemsize <= 8
        return known or h5py.check_string_dtype(data.dtype) is not None

    def _plain(self, name: str) -> np.ndarray:
        data = self._data[name]
        require_claim(self.path, name, claimed=data.nbytes, stored=data.id.get_storage_size())
        values = data[()].reshape(-1)
        if self._text(name) is None:
            return values.astype(values.dtype.newbyteorder("="), copy=False)
        try:
            return np.array([each.decode() for each in values], dtype=object)
        except UnicodeDecodeError:
            raise StimulusError(f"{self.path}: the strings of {name} are not UTF-8") from None


def _table(
    columns: _Columns, metadata: Sequence[str] | pd.DataFrame | None, ids: str | Sequence[str] | None
) -> pd.DataFrame:
    """Make the metadata, with ids."""
    import pandas as pd

    path, n = columns.path, columns.n
    if metadata is None:
        table = pd.DataFrame(columns.all(), index=range(n))
    elif isinstance(metadata, pd.DataFrame):
        table = metadata.reset_index(drop=True).copy()
        if len(table) != n:
            raise StimulusError(f"{path} has {n} stimuli, the metadata {len(table)} rows")
    else:
        names = [metadata] if isinstance(metadata, str) else metadata
        table = pd.DataFrame({name.strip("/"): columns.one(name) for name in names}, index=range(n))
    values: Any = table["stimulus_id"] if "stimulus_id" in table else range(n)
    if isinstance(ids, str):
        values = columns.one(ids)
        if values.dtype.kind not in "Oiu":
            raise StimulusError(f"{path}: {ids} is {values.dtype}; ids are strings or integers")
    elif ids is not None:
        values = list(ids)
        if len(values) != n:
            raise StimulusError(f"{path} has {n} stimuli, but {len(values)} ids are given")
    table["stimulus_id"] = [str(each) for each in values]
    return table[["stimulus_id", *[each for each in table.columns if each != "stimulus_id"]]]
