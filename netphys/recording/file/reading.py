"""Recording: activations of some layers to stimuli, read when asked for, each axis named.

Backed by a file (read in pieces) or by arrays in memory. Selections copy nothing. No file is held open, so several
threads and processes may read from one recording; most damage to a chunk is noticed when it is read, all of it by
:func:`netphys.recording.verify`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape as html
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, RecordingError, near
from netphys.matching import match_stimuli, require_unique
from netphys.recording.file.bfloat16 import Stored, storage_dtype, to_float32
from netphys.recording.file.entries import Entry, coordinates, default_dims
from netphys.recording.file.schema import layer_data, read_metadata, read_schema
from netphys.recording.file.selections import read_blocks
from netphys.recording.file.tables import Columns, aligned, metadata_frame, plain_columns
from netphys.recording.patterns import match_layers

if TYPE_CHECKING:
    import pandas as pd
    import torch
    import xarray as xr

    from netphys.recording.file.torch_dataset import Activations

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
    _units: Mapping[str, np.ndarray] = field(default_factory=dict)  # of the layers whose units were selected
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
            dims = default_dims(array.ndim)
            if dims is None or len(array) != len(ids):
                wanted = f"({len(ids)}, unit) or ({len(ids)}, unit, y, x)"
                raise RecordingError(f"layer {layer!r} is {array.shape}; {len(ids)} stimuli need {wanted}")
            entries.append(Entry(layer, "", dims, tuple(array.shape[1:]), place))
        table = None if metadata is None else plain_columns(aligned(metadata, ids, name=name), ids)
        return cls(name, training, ids, _entries=tuple(entries), _arrays=dict(arrays), _table=table)

    # What is in it

    def __repr__(self) -> str:
        where = str(self.path) if self.path else "in memory"
        n = len(self.layers)
        return f"Recording({self.name}: {n} layer{'s' * (n != 1)} x {len(self.stimulus_ids)} stimuli, {where})"

    def _repr_html_(self) -> str:
        """Show it in a notebook: what it is, and a row a layer."""
        rows = "".join(
            f"<tr><td>{html(each)}</td><td>{html(self.entry(each).kind)}</td>"
            f"<td>{' x '.join(f'{n} {dim}' for dim, n in zip(self.dims(each)[1:], self.shape(each)[1:]))}</td></tr>"
            for each in self.layers
        )
        return (
            f"<div>{html(repr(self))}</div>"
            f"<table><tr><th>layer</th><th>kind</th><th>activation to a stimulus</th></tr>{rows}</table>"
        )

    def __len__(self) -> int:
        return len(self.stimulus_ids)

    def __enter__(self) -> Recording:
        """Return it: a recording holds no file open, so that there is nothing to close."""
        return self

    def __exit__(self, *error: object) -> None:
        return None

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
        entry = self.entry(layer)
        return (len(self), self._n_units(entry), *entry.shape[1:])

    def dtype(self, layer: str) -> np.dtype:
        """Dtype of a layer's activations as they are read: bfloat16 is read as float32."""
        self.entry(layer)
        if self.path is not None:
            name = str(self.header["dtype"])
            return np.dtype(np.float32 if name == "bfloat16" else name)
        return np.dtype(np.float32) if self._is_halved(layer) else self._arrays[layer].dtype

    def dims(self, layer: str) -> tuple[str, ...]:
        """Names of the axes of a layer's activations."""
        return ("stimulus", *self.entry(layer).dims)

    def layer_index(self, layer: str) -> int:
        """Place of a layer among all layers of its network, in order of execution; in the recording if that is all."""
        return self.entry(layer).index

    def measured(self, layer: str) -> Mapping[str, Any]:
        """What was found out about a layer while it was recorded, such as the error of its projection."""
        return self.entry(layer).measured

    def __getitem__(self, layer: str) -> xr.DataArray:
        """Return a layer as a labelled array, read from the file only where it is used.

        Returns
        -------
        xarray.DataArray
            (stimulus, unit), (stimulus, unit, y, x), (stimulus, unit, token) or others of :meth:`dims`; coordinates
            ``stimulus_id``, ``unit`` (numbers of what is selected), ``token_kind``, ``patch_y`` and ``patch_x``.
        """
        import xarray as xr

        from netphys.recording.file.labelled import lazy_variable

        entry = self.entry(layer)
        if self.path is None and not self._is_halved(layer):
            variable = xr.Variable(self.dims(layer), self.read(layer))
        else:
            variable = lazy_variable(self, layer)
        variable.attrs = {"long_name": f"activation of {layer}", "units": "arbitrary"}
        numbers = self._units.get(layer, np.arange(entry.shape[0]))
        known = {"stimulus_id": ("stimulus", list(self.stimulus_ids)), "unit": numbers, **coordinates(entry)}
        return xr.DataArray(variable, coords=known, name="activation")

    def array(self, layer: str) -> np.ndarray:
        """Read a layer whole: (stimulus, unit, ...). A recording in memory gives a view that cannot be written to."""
        return self.read(layer)

    def tensor(self, layer: str) -> torch.Tensor:
        """Read a layer whole as a tensor (stimulus, unit, ...) of its own memory."""
        import torch

        values = self.array(layer)
        return torch.from_numpy(values if values.flags.writeable else values.copy())

    def dataset(self, layer: str, labels: str | None = None) -> Activations:
        """Make a data set of torch of a layer: (activation, stimulus id), read when asked for.

        Parameters
        ----------
        layer : str
            Its name.
        labels : str, optional
            A column of the metadata, whose values take the place of the stimulus ids.

        Raises
        ------
        RecordingError
            If there is no such column.
        """
        from netphys.recording.file.torch_dataset import Activations

        self.entry(layer)
        if labels is None:
            return Activations(self, layer, self.stimulus_ids)
        table = self.metadata
        if labels not in table:
            raise RecordingError(f"the stimuli of {self.name} have no column {labels!r}{near(labels, table.columns)}")
        return Activations(self, layer, table[labels].tolist())

    def read(self, layer: str, rows: np.ndarray | None = None, units: np.ndarray | None = None) -> np.ndarray:
        """Read some rows and some units of a layer, by their numbers in this recording; default all.

        Returns
        -------
        array (stimulus, unit, ...)
            In the order asked for.
        """
        rows = self._rows if rows is None else rows if self._rows is None else self._rows[rows]
        own = self._units.get(layer)
        units = own if units is None else units if own is None else own[units]
        blocks = list(self._blocks(layer, 1 << 62, rows, units))
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
        for block in self._blocks(layer, max_bytes, self._rows, self._units.get(layer)):
            yield block.reshape(len(block), math.prod(block.shape[1:]))

    # Selections

    def select(
        self,
        *,
        stimuli: Sequence[str] | None = None,
        layers: str | Sequence[str] | None = None,
        units: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    ) -> Recording:
        """Select stimuli by id (in the order given), layers by pattern, units by number; nothing is copied.

        Parameters
        ----------
        stimuli : sequence of str, optional
            Stimulus ids.
        layers : str or sequence of str, optional
            Layer patterns.
        units : sequence of int, or mapping of str to sequence of int, optional
            The same units of every layer, or those of each layer that is named; of others all are kept.

        Raises
        ------
        MatchError
            If a stimulus is not in the recording.
        LayerNotFound
            If a pattern matches no layer, or units are of a layer that is not there.
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
            by_layer = units if isinstance(units, Mapping) else dict.fromkeys(chosen.layers, units)
            numbered = {layer: chosen._numbered(layer, numbers) for layer, numbers in by_layer.items()}
            chosen = replace(chosen, _units={**chosen._units, **numbered})
        return chosen

    def _numbered(self, layer: str, units: Sequence[int]) -> np.ndarray:
        """Turn units selected of a layer into numbers of what is stored."""
        entry, numbers = self.entry(layer), np.asarray(units)
        if len(numbers) and numbers.dtype.kind not in "iu":
            raise RecordingError(f"units are selected by number, not by {numbers.dtype}")
        numbers, n_units = numbers.astype(np.int64), self._n_units(entry)
        for odd in numbers[(numbers < 0) | (numbers >= n_units)][:1]:
            raise RecordingError(f"layer {entry.name!r} has units 0 to {n_units - 1}, not {odd}")
        return self._units[layer][numbers] if layer in self._units else numbers

    def _n_units(self, entry: Entry) -> int:
        return len(self._units[entry.name]) if entry.name in self._units else entry.shape[0]

    # Reading

    def entry(self, layer: str) -> Entry:
        """What is known of a layer: its axes, what its tokens are and where, what was measured."""
        for entry in self._entries:
            if entry.name == layer:
                return entry
        first, *_ = match_layers(layer, self._entries, network=f"recording {self.name}")
        raise LayerNotFound(
            f"{layer!r} is a pattern, first match {first!r}; recording.select(layers=...) takes patterns"
        )

    def _blocks(
        self, layer: str, max_bytes: int, rows: np.ndarray | None, units: np.ndarray | None
    ) -> Iterator[np.ndarray]:
        """Read (stimulus, some units, ...) after (stimulus, some units, ...)."""
        self.entry(layer)
        if self.path is None:
            for block in read_blocks(self._read_only(layer), rows, units, max_bytes):
                yield to_float32(block) if self._is_halved(layer) else block
            return
        with layer_data(self.path, layer, digest=self.header.get("digest")) as data:
            yield from read_blocks(Stored(data, widened=True), rows, units, max_bytes)

    def _is_halved(self, layer: str) -> bool:
        """Tell whether an array in memory holds bfloat16."""
        options = self.header.get("provenance", {}).get("options", {})
        name = self.header.get("dtype", options.get("dtype"))
        return name == "bfloat16" and layer in self._arrays and self._arrays[layer].dtype == storage_dtype(name)

    def _read_only(self, layer: str) -> np.ndarray:
        """View an array that is kept; whoever wants to change it makes a copy."""
        view = self._arrays[layer].view()
        view.flags.writeable = False
        return view


def load_recording(path: Path | str, *, stimulus_ids: Sequence[str] | None = None) -> Recording:
    """Open a recording, or features computed elsewhere.

    Parameters
    ----------
    path : Path or address
        A recording's ``.h5``; or features (:mod:`netphys.recording.file.importing`): ``.npy`` (stimulus, unit, ...),
        ``.npz`` (one array a layer), any HDF5 by ``features.h5?layer=DATASET&ids=DATASET``, a folder of thingsvision.
    stimulus_ids : sequence of str, optional
        The ids of the rows of a file that has none.

    Raises
    ------
    RecordingError
        If it is no recording, not whole, lacks ids, or says of itself what was not written.
    """
    from netphys.recording.file.importing import import_features, is_foreign

    if is_foreign(path):
        return import_features(path, stimulus_ids)
    path = Path(path)
    header, entries, ids = read_schema(path, checked=True)
    return Recording(header["network"], header["training"], ids, path, header, entries)
