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
from netphys.guards import translating
from netphys.matching import match_stimuli, require_unique
from netphys.numpy_files import npz_headers, read_npy, read_npz
from netphys.recording.patterns import match_layers
from netphys.recording.schema import DIMS, Entry, escape, read_metadata, read_schema
from netphys.recording.selections import read_blocks
from netphys.recording.tables import Columns, aligned, metadata_frame, plain_columns

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

__all__ = ["Recording", "load_recording"]


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
    _entries: tuple[Entry, ...] = ()
    _arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    _rows: np.ndarray | None = None
    _units: np.ndarray | None = None
    _table: Columns | None = None

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, np.ndarray],
        stimulus_ids: Sequence[str],
        *,
        name: str = "arrays",
        training: str = "unknown",
        metadata: pd.DataFrame | None = None,
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
        metadata : pandas.DataFrame, optional
            One row a stimulus; joined by its column ``stimulus_id``, or in the order of the ids where it has none.

        Raises
        ------
        RecordingError
            If rows and ids differ in number.
        MatchError
            If a stimulus is not in `metadata`.

        Examples
        --------
        >>> import numpy as np
        >>> Recording.from_arrays({"fc": np.zeros((2, 5))}, ["a", "b"], name="mine")
        Recording(mine: 1 layer x 2 stimuli, in memory)
        """
        ids = tuple(require_unique(stimulus_ids, what=name))
        entries = []
        for place, (layer, array) in enumerate(arrays.items()):
            if array.ndim not in DIMS or len(array) != len(ids):
                wanted = f"({len(ids)}, unit) or ({len(ids)}, unit, y, x)"
                raise RecordingError(f"layer {layer!r} is {array.shape}; {len(ids)} stimuli need {wanted}")
            entries.append(Entry(layer, "", DIMS[array.ndim], tuple(array.shape[1:]), place))
        table = None if metadata is None else plain_columns(aligned(metadata, ids, name=name), ids)
        return cls(name, training, ids, _entries=tuple(entries), _arrays=dict(arrays), _table=table)

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

    @property
    def metadata(self) -> pd.DataFrame:
        """What is known of the stimuli: one row each, column ``stimulus_id`` first; a copy.

        Recordings made before metadata were stored, and features from elsewhere, have only ``stimulus_id``.

        Raises
        ------
        RecordingError
            If the file's table is damaged.
        """
        columns = self._table
        if columns is None and self.path is not None:
            every = read_schema(self.path)[2] if self._rows is not None else self.stimulus_ids
            columns = read_metadata(self.path, every)
        if columns is None:
            return metadata_frame({"stimulus_id": np.array(self.stimulus_ids, dtype=object)}, None)
        return metadata_frame(columns, self._rows)

    def shape(self, layer: str) -> tuple[int, ...]:
        """Shape of a layer's activations: (stimulus, unit, ...)."""
        entry = self._entry(layer)
        n_units = entry.shape[0] if self._units is None else len(self._units)
        return (len(self), n_units, *entry.shape[1:])

    def dims(self, layer: str) -> tuple[str, ...]:
        """Names of the axes of a layer's activations."""
        return ("stimulus", *self._entry(layer).dims)

    def layer_index(self, layer: str) -> int:
        """Place of a layer among all layers of its network, in order of execution; in the recording if that is all."""
        return self._entry(layer).index

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
            array = xr.DataArray(self._read_only(layer), dims=self.dims(layer), name="activation")
        else:
            array = xr.open_dataset(self.path, group=f"layers/{escape(layer)}", engine="h5netcdf")["activation"]
        if self._rows is not None:
            array = array.isel(stimulus=self._rows)
        if self._units is not None:
            array = array.isel(unit=self._units)
        return array.assign_coords(stimulus_id=("stimulus", list(self.stimulus_ids)))

    def array(self, layer: str) -> np.ndarray:
        """Read a layer whole: (stimulus, unit, ...). A recording in memory gives a view that cannot be written to."""
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
            Of a recording in memory it may be a view, which then cannot be written to.
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

    def _entry(self, layer: str) -> Entry:
        for entry in self._entries:
            if entry.name == layer:
                return entry
        first, *_ = match_layers(layer, self._entries, network=f"recording {self.name}")
        raise LayerNotFound(
            f"{layer!r} is a pattern, first match {first!r}; recording.select(layers=...) takes patterns"
        )

    def _blocks(self, layer: str, max_bytes: int) -> Iterator[np.ndarray]:
        """Read (stimulus, some units, ...) after (stimulus, some units, ...)."""
        self._entry(layer)
        if self.path is None:
            yield from read_blocks(self._read_only(layer), self._rows, self._units, max_bytes)
            return
        import h5py

        with translating(self.path, "a recording"), h5py.File(self.path, "r") as file:
            yield from read_blocks(file["layers"][escape(layer)]["activation"], self._rows, self._units, max_bytes)

    def _read_only(self, layer: str) -> np.ndarray:
        """View an array that is kept; whoever wants to change it makes a copy."""
        view = self._arrays[layer].view()
        view.flags.writeable = False
        return view


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
    header, entries, ids = read_schema(path)
    return Recording(header["network"], header["training"], ids, path, header, entries)


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
