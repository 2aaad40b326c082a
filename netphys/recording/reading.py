"""Recording: activations of some layers to stimuli, read when asked for, each axis named.

Backed by a file (read in pieces) or by arrays in memory. Selections copy nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, RecordingError
from netphys.guards import guarded_hdf5
from netphys.matching import match_stimuli, require_unique
from netphys.numpy_files import npz_headers, read_npy, read_npz
from netphys.recording.patterns import match_layers
from netphys.recording.store import escape, read_header

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Recording", "load_recording"]

_BUDGET = 1 << 50  # bytes that a recording may claim: it is read in pieces
_DIMS = {2: ("unit",), 3: ("unit", "token"), 4: ("unit", "y", "x"), 5: ("unit", "time", "y", "x")}


@dataclass(frozen=True)
class _Entry:
    """A layer of a recording, as patterns look at it."""

    name: str
    kind: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]  # of one stimulus
    is_leaf: bool = True


@dataclass(frozen=True, repr=False)
class Recording:
    """Activations of a network's layers to stimuli.

    Made by :func:`netphys.record`, :func:`load_recording` or :meth:`from_arrays`.

    Attributes
    ----------
    name : str
        The network, as figures and tables call it.
    training : str
        An objective's name, ``"pretrained"``, ``"untrained"``, ``"none"`` or ``"unknown"``.
    stimulus_ids : tuple of str
        One a row.
    path : Path or None
        The file, where there is one.
    header : dict
        What made it: digest, provenance.
    """

    name: str
    training: str
    stimulus_ids: tuple[str, ...]
    path: Path | None = None
    header: Mapping[str, Any] = field(default_factory=dict)
    _entries: tuple[_Entry, ...] = ()
    _arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    _rows: np.ndarray | None = None
    _units: np.ndarray | None = None

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        stimulus_ids: Sequence[str],
        *,
        name: str = "arrays",
        training: str = "unknown",
    ) -> Recording:
        """Take features computed elsewhere.

        Parameters
        ----------
        arrays : mapping of str to array
            Layer → (stimulus, unit), (stimulus, unit, token) or (stimulus, unit, y, x), in order of execution.
        stimulus_ids : sequence of str
            One a row, unique.
        name, training : str
            As in the tidy frame.

        Raises
        ------
        RecordingError
            If rows and ids differ in number.

        Examples
        --------
        >>> import numpy as np
        >>> Recording.from_arrays({"fc": np.zeros((2, 5))}, ["a", "b"], name="mine")
        Recording(mine: 1 layer x 2 stimuli, in memory)
        """
        ids = tuple(require_unique(stimulus_ids, what=name))
        entries = []
        for layer, array in arrays.items():
            if array.ndim not in _DIMS or len(array) != len(ids):
                wanted = f"({len(ids)}, unit) or ({len(ids)}, unit, y, x)"
                raise RecordingError(f"layer {layer!r} is {array.shape}; {len(ids)} stimuli need {wanted}")
            entries.append(_Entry(layer, "", _DIMS[array.ndim], tuple(array.shape[1:])))
        return cls(name, training, ids, _entries=tuple(entries), _arrays=dict(arrays))

    # What is in it

    def __repr__(self) -> str:
        where = str(self.path) if self.path else "in memory"
        n = len(self.layers)
        return f"Recording({self.name}: {n} layer{'s' * (n != 1)} x {len(self.stimulus_ids)} stimuli, {where})"

    def __len__(self) -> int:
        return len(self.stimulus_ids)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in order of execution."""
        return tuple(entry.name for entry in self._entries)

    def shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's activations: (stimulus, unit, ...)."""
        entry = self._entry(layer)
        n_units = entry.shape[0] if self._units is None else len(self._units)
        return (len(self), n_units, *entry.shape[1:])

    def dims(self, layer: str) -> tuple[str, ...]:
        """Names of the axes of a layer's activations."""
        return ("stimulus", *self._entry(layer).dims)

    def __getitem__(self, layer: str) -> xr.DataArray:
        """Return a layer as a labelled array, read from the file only where it is used.

        Returns
        -------
        xarray.DataArray
            (stimulus, unit), (stimulus, unit, y, x) or (stimulus, unit, token), coordinate ``stimulus_id``.
        """
        import xarray as xr

        self._entry(layer)
        if self.path is None:
            array = xr.DataArray(self._arrays[layer], dims=self.dims(layer), name="activation")
        else:
            array = xr.open_dataset(self.path, group=f"layers/{escape(layer)}", engine="h5netcdf")["activation"]
        if self._rows is not None:
            array = array.isel(stimulus=self._rows)
        if self._units is not None:
            array = array.isel(unit=self._units)
        return array.assign_coords(stimulus_id=("stimulus", list(self.stimulus_ids)))

    def array(self, layer: str) -> np.ndarray:
        """Read a layer whole: (stimulus, unit, ...)."""
        blocks = list(self._blocks(layer, max_bytes=1 << 62))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)

    def unit_blocks(self, layer: str, max_bytes: int = 64 << 20) -> Iterator[np.ndarray]:
        """Go through a layer in blocks of units, all stimuli each.

        Parameters
        ----------
        layer : str
            Its name.
        max_bytes : int
            About how much a block takes; at least one unit.

        Yields
        ------
        array (stimulus, unit x position)
        """
        for block in self._blocks(layer, max_bytes):
            yield block.reshape(len(block), -1)

    # Selections

    def select(
        self,
        *,
        stimuli: Sequence[str] | None = None,
        layers: str | Sequence[str] | None = None,
        units: Sequence[int] | None = None,
    ) -> Recording:
        """Select stimuli by id (in the order given), layers by pattern, units by number; nothing is copied.

        Raises
        ------
        MatchError
            If a stimulus is not in the recording.
        LayerNotFound
            If a pattern matches no layer.
        RecordingError
            If a layer has no such unit.
        """
        chosen = self
        if layers is not None:
            names = match_layers(layers, self._entries, network=self.name)
            chosen = replace(chosen, _entries=tuple(entry for entry in self._entries if entry.name in names))
        if stimuli is not None:
            own = f"recording {self.name}"
            match = match_stimuli(self.stimulus_ids, list(stimuli), model=own, data="the selection")
            rows = match.model_rows if self._rows is None else self._rows[match.model_rows]
            chosen = replace(chosen, stimulus_ids=match.stimulus_ids, _rows=rows)
        if units is not None:
            numbers = np.asarray(units)
            if len(numbers) and numbers.dtype.kind not in "iu":
                raise RecordingError(f"units are selected by number, not by {numbers.dtype}")
            numbers = numbers.astype(np.int64)
            for entry in chosen._entries:
                n_units = entry.shape[0] if self._units is None else len(self._units)
                for odd in numbers[(numbers < 0) | (numbers >= n_units)][:1]:
                    raise RecordingError(f"layer {entry.name!r} has units 0 to {n_units - 1}, not {odd}")
            chosen = replace(chosen, _units=numbers if self._units is None else self._units[numbers])
        return chosen

    # Reading

    def _entry(self, layer: str) -> _Entry:
        for entry in self._entries:
            if entry.name == layer:
                return entry
        first, *_ = match_layers(layer, self._entries, network=f"recording {self.name}")
        raise LayerNotFound(
            f"{layer!r} is a pattern, first match {first!r}; recording.select(layers=...) takes patterns"
        )

    def _blocks(self, layer: str, max_bytes: int) -> Iterator[np.ndarray]:
        """Read (stimulus, some units, ...) after (stimulus, some units, ...)."""
        entry = self._entry(layer)
        if self.path is None:
            yield from self._cut(self._arrays[layer], entry, max_bytes, aligned=1)
            return
        import h5py

        with h5py.File(self.path, "r") as file:
            data = file["layers"][escape(layer)]["activation"]
            yield from self._cut(data, entry, max_bytes, aligned=data.chunks[1])

    def _cut(self, data: Any, entry: _Entry, max_bytes: int, *, aligned: int) -> Iterator[np.ndarray]:
        """Cut by units, along chunks, and select."""
        units = np.arange(entry.shape[0]) if self._units is None else self._units
        a_unit = len(self) * int(np.prod(entry.shape[1:])) * np.dtype(data.dtype).itemsize
        step = max(1, max_bytes // max(a_unit, 1))
        if self._units is None and step < len(units):
            step = max(aligned, step // aligned * aligned)
        for first in range(0, max(len(units), 1), step):
            block = _read_units(data, units[first : first + step])
            yield block if self._rows is None else block[self._rows]


def _read_units(data: Any, units: np.ndarray) -> np.ndarray:
    """Read some units of all stimuli, in the order given; neighbours in one piece."""
    wanted, place = np.unique(units, return_inverse=True)
    low, high = (int(wanted[0]), int(wanted[-1]) + 1) if len(wanted) else (0, 0)
    if high - low == len(wanted):
        block = np.asarray(data[:, low:high])
    else:
        block = np.asarray(data[:, wanted])
    return block if np.array_equal(place, np.arange(len(wanted))) else block[:, place]


def load_recording(path: Path | str, *, stimulus_ids: Sequence[str] | None = None) -> Recording:
    """Open a recording, or features computed elsewhere.

    Parameters
    ----------
    path : Path
        A recording's ``.h5``; or ``.npy`` (stimulus, unit, ...) or ``.npz`` (one array a layer) with `stimulus_ids`.
    stimulus_ids : sequence of str, optional
        The ids of the rows of a file that has none.

    Raises
    ------
    RecordingError
        If it is no recording, not whole, or lacks ids.
    """
    path = Path(path)
    if path.suffix in (".npy", ".npz"):
        return _load_arrays(path, stimulus_ids)
    header = read_header(path)
    entries = []
    with guarded_hdf5(path, budget=_BUDGET) as file:
        for layer in header["layers"]:
            group = file["layers"][escape(layer)]
            data = group["activation"]
            dims = tuple(dim.label for dim in data.dims)[1:]
            entries.append(_Entry(layer, str(group.attrs["kind"]), dims, tuple(data.shape[1:])))
        ids = tuple(group["stimulus_id"].asstr()[:])
    return Recording(header["network"], header["training"], ids, path, header, tuple(entries))


def _load_arrays(path: Path, stimulus_ids: Sequence[str] | None) -> Recording:
    """Read numpy's files; pickles are refused."""
    if not path.is_file():
        raise RecordingError(f"no recording at {path}")
    if stimulus_ids is None:
        raise RecordingError(f"{path} names no stimuli; name the list that its rows follow (--ids FILE:COLUMN)")
    if path.suffix == ".npy":
        arrays = {path.stem: read_npy(path, mapped=True)}
    else:
        arrays = {name: read_npz(path, name) for name in npz_headers(path)}
    return Recording.from_arrays(arrays, stimulus_ids, name=path.stem)
