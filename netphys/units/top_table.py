"""The table of top patches: for each unit its best stimuli, where in them, and how strongly; a file of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import FileError, LayerNotFound, OptionError, near
from netphys.files import committing, ensure_folder
from netphys.guards import guarded_hdf5
from netphys.provenance import provenance

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Float32, Int32, Int64
    from matplotlib.axes import Axes

    from netphys.networks import Network
    from netphys.networks.fields import Field
    from netphys.stimuli import StimulusSet

__all__ = ["LayerPatches", "TopPatchesResult", "load_top_patches"]

_FORMAT = "netphys top patches 1"


@dataclass(frozen=True, repr=False)
class LayerPatches:
    """The top patches of one layer's units; entry 0 is the best. Entries that are not there are NaN and -1."""

    name: str
    kind: str
    dims: tuple[str, ...]  # ("unit", "y", "x"), ("unit",), ("unit", "token") or ("unit", "time", "y", "x")
    shape: tuple[int, ...]
    value: Float32[np.ndarray, "unit k"]
    stimulus: Int64[np.ndarray, "unit k"]  # place in the set
    position: Int32[np.ndarray, "unit k axis"]  # along dims[1:]

    def __repr__(self) -> str:
        return f"LayerPatches({self.name}: {self.n_units} units, {self.n_dead} dead)"

    @property
    def n_units(self) -> int:
        """How many units the layer has."""
        return len(self.value)

    @property
    def dead(self) -> Bool[np.ndarray, " unit"]:
        """Units that no stimulus drives above 0."""
        return ~(self.value[:, 0] > 0)

    @property
    def n_dead(self) -> int:
        """How many units no stimulus drives above 0."""
        return int(self.dead.sum())

    @property
    def selectivity(self) -> Float32[np.ndarray, " unit"]:
        """Best activation over the last that is kept: 1 where many stimuli drive a unit alike; NaN of dead ones."""
        last = np.where(self.stimulus >= 0, self.value, np.float32(np.inf)).min(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = self.value[:, 0] / np.maximum(last, 0)
        return np.where(self.dead, np.float32(np.nan), ratio).astype(np.float32)


@dataclass(frozen=True, repr=False)
class TopPatchesResult:
    """The stimuli, and the places in them, that drive every unit of some layers most."""

    layers: Mapping[str, LayerPatches]
    stimulus_ids: tuple[str, ...]
    k: int
    network: str = ""
    made: Mapping[str, Any] = field(default_factory=dict)  # provenance of the pass

    def __repr__(self) -> str:
        return f"TopPatchesResult({self})"

    def __str__(self) -> str:
        n_units = sum(each.n_units for each in self.layers.values())
        n_dead = sum(each.n_dead for each in self.layers.values())
        n, name = len(self.layers), f"{self.network}: " if self.network else ""
        kept = min(self.k, len(self.stimulus_ids))
        shown = f"{kept} of {len(self.stimulus_ids)} stimuli each"
        return f"{name}{n_units} units of {n} layer{'s' * (n != 1)}, {shown}, {n_dead} dead"

    def __getitem__(self, layer: str) -> LayerPatches:
        if layer not in self.layers:
            raise LayerNotFound(f"no layer {layer!r} among the top patches{near(layer, self.layers)}")
        return self.layers[layer]

    def to_frame(self, layer: str | None = None) -> pd.DataFrame:
        """Return one row an entry: layer, unit, rank (1 the best), stimulus_id, y, x, value, dead.

        Of all layers, or of one. y and x are places in the layer's map, missing for layers without one. Layers of
        tokens add a column ``token``, those of clips ``time``.
        """
        import pandas as pd

        chosen = self.layers.values() if layer is None else [self[layer]]
        frames = [self._layer_frame(each) for each in chosen]
        table = pd.concat(frames, ignore_index=True)
        extra = [name for name in ("token", "time") if name in table]
        columns = ["layer", "unit", "rank", "stimulus_id", "y", "x", *extra, "value", "dead"]
        return table[columns].astype(dict.fromkeys(("y", "x", *extra), "Int64"))

    def plot(
        self,
        layer: str,
        stimuli: StimulusSet,
        network: Network | Any,
        *,
        units: Sequence[int] | None = None,
        receptive_field: Field | None = None,
        ax: Axes | None = None,
    ) -> Axes:
        """Draw the patches of some units of a layer (:func:`netphys.units.sheets.plot_sheet`)."""
        from netphys.units.sheets import plot_sheet

        return plot_sheet(self, layer, stimuli, network, units=units, receptive_field=receptive_field, ax=ax)

    def save(self, path: Path | str) -> Path:
        """Write one HDF5 file with what made it; :func:`load_top_patches` reads it.

        Raises
        ------
        OutputError
            If it cannot be written.
        OptionError
            If the file is not named as HDF5.
        """
        import h5py

        path = Path(path)
        if path.suffix not in (".h5", ".hdf5"):
            raise OptionError(f"top patches are an HDF5 file: {path.with_suffix('.h5')}, not {path}")
        ensure_folder(path.parent)
        header = {
            "format": _FORMAT,
            "k": self.k,
            "network": self.network,
            "made": dict(self.made) or provenance("top_patches", {"k": self.k}, {}),
        }
        with committing(path) as temporary, h5py.File(temporary, "w", libver=("v110", "latest")) as file:
            # text of fixed length: what has none lies in heaps, in which HDF5 goes astray when a file is damaged
            file["header"] = np.bytes_(json.dumps(header, sort_keys=True).encode())
            file["stimulus_ids"] = np.array([each.encode() for each in self.stimulus_ids])
            for index, each in enumerate(self.layers.values()):
                group = file.create_group(f"layers/{index:05d}")
                group["layer"] = np.bytes_(
                    json.dumps([each.name, each.kind, list(each.dims), list(each.shape)]).encode()
                )
                for name in _ARRAYS:
                    group.create_dataset(name, data=getattr(each, name))
        return path

    def _layer_frame(self, layer: LayerPatches) -> pd.DataFrame:
        import pandas as pd

        unit, rank = np.nonzero(layer.stimulus >= 0)
        ids = np.array(self.stimulus_ids, dtype=object)
        columns: dict[str, Any] = {
            "layer": layer.name,
            "unit": unit,
            "rank": rank + 1,
            "stimulus_id": ids[layer.stimulus[unit, rank]],
            "y": pd.NA,
            "x": pd.NA,
            "value": layer.value[unit, rank],
            "dead": layer.dead[unit],
        }
        for at, name in enumerate(layer.dims[1:]):
            columns[name] = layer.position[unit, rank, at]
        return pd.DataFrame(columns)


_ARRAYS = {"value": np.float32, "stimulus": np.int64, "position": np.int32}


def load_top_patches(path: Path | str) -> TopPatchesResult:
    """Read top patches from their file.

    Raises
    ------
    FileError
        If the file is absent, damaged, or another kind of file.

    Examples
    --------
    >>> import tempfile
    >>> from netphys.units import top_patches
    >>> made = top_patches("netphys:gabor_energy", "world:scenes?n=4", layers="energy", k=2)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     load_top_patches(made.save(f"{folder}/top.h5"))
    TopPatchesResult(netphys:gabor_energy: 40 units of 1 layer, 2 of 4 stimuli each, 0 dead)
    """
    path = Path(path)
    with guarded_hdf5(path) as file:
        header = _header(path, file)
        ids = tuple(each.decode() for each in file["stimulus_ids"][:])
        layers = [_read_layer(path, group, header["k"], len(ids)) for _, group in sorted(file["layers"].items())]
    return TopPatchesResult(
        {each.name: each for each in layers}, ids, header["k"], str(header.get("network", "")), header.get("made", {})
    )


def _header(path: Path, file: Any) -> dict[str, Any]:
    """Read what the file says of itself."""
    header = json.loads(file["header"][()]) if "header" in file else {}
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise FileError(f"{path} holds no top patches; netphys.top_patches(...).save(path) writes such a file")
    if not isinstance(header.get("k"), int) or not isinstance(header.get("made", {}), dict):
        raise FileError(f"{path} is damaged: its header says k={header.get('k')!r}")
    return header


def _read_layer(path: Path, group: Any, k: int, n_stimuli: int) -> LayerPatches:
    """Read one layer and see that its arrays belong together."""
    name, kind, dims, shape = json.loads(group["layer"][()])
    arrays = {key: np.asarray(group[key][()]) for key in _ARRAYS}
    expected = {"value": (shape[0], k), "stimulus": (shape[0], k), "position": (shape[0], k, len(dims) - 1)}
    for key, dtype in _ARRAYS.items():
        if arrays[key].shape != expected[key] or arrays[key].dtype != dtype or len(dims) != len(shape):
            raise FileError(f"{path} is damaged: {key} of layer {name!r} is {arrays[key].dtype} {arrays[key].shape}")
    if ((arrays["stimulus"] < -1) | (arrays["stimulus"] >= n_stimuli)).any():
        raise FileError(f"{path} is damaged: layer {name!r} names stimuli that are not in its list of {n_stimuli}")
    if ((arrays["position"] < -1) | (arrays["position"] >= np.array(shape[1:], dtype=np.int64))).any():
        raise FileError(f"{path} is damaged: layer {name!r} names positions outside its map of {shape[1:]}")
    return LayerPatches(str(name), str(kind), tuple(dims), tuple(shape), **arrays)
