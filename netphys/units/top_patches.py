"""Top patches: for every unit of every layer, the stimuli, and the places in them, that drive it most.

One recording pass feeds all layers; a unit keeps K entries, one a stimulus, so that neighbouring places of one image do
not fill its list. Entries are ordered by activation (largest first), then by the stimulus' place in the set, then by
position in row order, so that batches in any order and any split give the same table, ties included.

References
----------
Zeiler & Fergus (2014), Visualizing and understanding convolutional networks, section 4 and figure 2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import OptionError, RecordingError
from netphys.units.top_table import LayerPatches, TopPatchesResult

if TYPE_CHECKING:
    import torch

    from netphys.networks import Network
    from netphys.recording.layers import Layer
    from netphys.stimuli import StimulusSet

__all__ = ["TopPatches", "top_patches"]

_ABSENT = np.iinfo(np.int64).max  # stimulus of an entry that is not there yet; last in every order


def top_patches(
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    layers: str | Sequence[str],
    k: int = 9,
    batch_size: int = 32,
    device: str = "auto",
    seed: int = 0,
) -> TopPatchesResult:
    """Find the stimuli, and the places in them, that drive every unit most; one pass over the stimuli.

    Parameters
    ----------
    network : Network, torch.nn.Module or address
        Any network; it is left as it was found.
    stimuli : StimulusSet, address, or array (stimulus, 3, y, x)
        What is shown.
    layers : str or sequence of str
        Layer patterns, see :mod:`netphys.recording.patterns`.
    k : int
        Entries a unit, one a stimulus. Nine, as in Zeiler & Fergus (2014).
    batch_size, device, seed
        As of :func:`netphys.record`.

    Returns
    -------
    TopPatchesResult

    Raises
    ------
    OptionError
        If `k` is less than 1.
    RecordingError
        If an activation is not a number, or a layer cannot be recorded.

    Examples
    --------
    >>> top_patches("netphys:gabor_energy", "world:scenes?n=12", layers="energy", k=3)
    TopPatchesResult(netphys:gabor_energy: 40 units of 1 layer, 3 of 12 stimuli each, 0 dead)
    """
    from dataclasses import replace

    from netphys.networks import as_network
    from netphys.recording import record

    network, sink = as_network(network, seed=seed), TopPatches(k)
    options: Any = {"layers": layers, "batch_size": batch_size, "device": device, "seed": seed}
    recording = record(network, stimuli, keep="mean", sinks=[sink], **options)  # the smallest that can be kept
    made = dict(recording.header.get("provenance", {}))
    return replace(sink.close(), network=network.name, made=made)


class TopPatches:
    """Keep the top patches of every unit of the layers of a recording pass: a sink of :func:`netphys.record`.

    Parameters
    ----------
    k : int
        Entries a unit, one a stimulus.

    Notes
    -----
    For unit u and stimulus i, v is the maximum over positions, and the position is the first maximum in row order.
    Values are stored as float32. State: k · (4 + 8 + 4) bytes a unit. A position is looked for only where v enters a
    list, which after the first batches is seldom; that and the maximum are computed on the network's device.

    Examples
    --------
    >>> import netphys
    >>> sink = TopPatches(k=2)
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=5", layers="energy", keep="mean", sinks=[sink])
    >>> sink.close().layers["energy"].stimulus.shape
    (40, 2)
    """

    def __init__(self, k: int = 9) -> None:
        if k < 1:
            raise OptionError(f"k={k}: at least one patch a unit")
        self.k = k
        self._layers: tuple[Layer, ...] = ()
        self._tops: dict[str, _Top] = {}
        self._latest: tuple[torch.Tensor, int, np.ndarray, torch.Tensor] | None = None
        self._result: TopPatchesResult | None = None

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on."""
        return {"k": self.k, "per_stimulus": 1}

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Begin with empty lists."""
        self._layers, self._ids = tuple(layers), tuple(stimulus_ids)
        self._tops = {each.name: _Top(each.n_units, self.k) for each in layers}
        self._latest = self._result = None

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation to some stimuli.

        Raises
        ------
        RecordingError
            If a value is not a number.
        """
        peaks = self._peaks(rows, activation)
        if bool(peaks.isnan().any()):
            at, unit = (int(each) for each in peaks.isnan().nonzero()[0])
            raise RecordingError(
                f"unit {unit} of layer {layer!r} is not a number (NaN) for stimulus {self._ids[int(rows[at])]!r}; "
                "nothing can be the largest of that"
            )
        self._tops[layer].offer(rows, peaks, activation)

    def close(self) -> TopPatchesResult:
        """Return the lists; may be called again."""
        if self._result is None:
            self._latest = None
            layers = {each.name: self._layer(each) for each in self._layers}
            self._result = TopPatchesResult(layers, self._ids, self.k)
        return self._result

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the lists, an array each."""
        return {
            f"{kind}/{name}": value.cpu().numpy().copy()
            for name, top in self._tops.items()
            for kind, value in top.lists().items()
        }

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from saved lists."""
        for key, value in state.items():
            kind, _, name = key.partition("/")
            self._tops[name].put(kind, value)

    def _peaks(self, rows: np.ndarray, activation: torch.Tensor) -> torch.Tensor:
        """Maxima over positions (stimulus, unit); a tensor that two layers return is looked at once.

        The latest one is held on to, so that no other can lie at its place in memory.
        """
        version = activation._version if not activation.is_inference() else -1
        if self._latest is not None and version >= 0:
            held, seen, of, peaks = self._latest
            same = held.data_ptr() == activation.data_ptr() and held.dtype == activation.dtype
            same = same and held.shape == activation.shape and held.stride() == activation.stride()
            if same and seen == version and np.array_equal(of, rows):
                return peaks
        positions = tuple(range(2, activation.ndim))
        peaks = activation.amax(positions) if positions else activation
        self._latest = (activation, version, rows, peaks)
        return peaks

    def _layer(self, layer: Layer) -> LayerPatches:
        lists = {kind: value.cpu().numpy() for kind, value in self._tops[layer.name].lists().items()}
        there = lists["stimulus"] != _ABSENT
        axes = layer.shape[1:]
        places = np.unravel_index(np.where(there, lists["position"], 0), axes) if axes else ()
        position = np.stack(places, axis=-1) if axes else np.empty((*there.shape, 0))
        return LayerPatches(
            name=layer.name,
            kind=layer.kind,
            dims=tuple(layer.dims),
            shape=tuple(layer.shape),
            value=np.where(there, lists["value"], np.float32(np.nan)).astype(np.float32),
            stimulus=np.where(there, lists["stimulus"], -1),
            position=np.where(there[..., None], position, -1).astype(np.int32),
        )


class _Top:
    """The lists of the units of one layer, (unit, k) each, in their order."""

    def __init__(self, n_units: int, k: int) -> None:
        import torch

        self._value = torch.full((n_units, k), -np.inf)
        self._stimulus = torch.full((n_units, k), _ABSENT)
        self._position = torch.zeros((n_units, k), dtype=torch.int32)
        self._seen = -1  # last stimulus so far, while they come in order; else none

    def lists(self) -> dict[str, torch.Tensor]:
        """Return all three by name."""
        return {"value": self._value, "stimulus": self._stimulus, "position": self._position}

    def put(self, kind: str, value: np.ndarray) -> None:
        """Replace one of the three."""
        import torch

        setattr(self, f"_{kind}", torch.from_numpy(np.array(value)))
        self._seen = _ABSENT

    def offer(self, rows: np.ndarray, peaks: torch.Tensor, activation: torch.Tensor) -> None:
        """Take in the entries that come before the last one of a list.

        Parameters
        ----------
        rows : array of int (stimulus,)
            Places of the stimuli in the set.
        peaks : tensor (stimulus, unit)
            Maxima over positions.
        activation : tensor (stimulus, unit, ...)
            Where their positions are looked for.
        """
        import torch

        if self._value.device != peaks.device:
            self._value, self._stimulus, self._position = (each.to(peaks.device) for each in self.lists().values())
        ordered = bool(self._seen >= self._value.shape[1] - 1 and rows[0] > self._seen and (np.diff(rows) > 0).all())
        goes_on = rows[0] == self._seen + 1 and (np.diff(rows) == 1).all()
        self._seen = int(rows[-1]) if goes_on else _ABSENT
        values = peaks.T.to(torch.float32)
        stimuli = torch.as_tensor(rows, device=peaks.device)[None]
        worst, latest = self._value[:, -1:], self._stimulus[:, -1:]
        entering = (values > worst) | ((values == worst) & (stimuli < latest))
        units = entering.any(1).nonzero()[:, 0]
        if not len(units):
            return
        # where an entry stands is looked for when it is known to stay; until then, minus its place in the batch
        sought = -1 - torch.arange(len(rows), dtype=torch.int32, device=peaks.device).expand(len(units), -1)
        self._merge(units, values[units], stimuli.expand(len(units), -1), sought, entering[units], ordered=ordered)
        if activation.ndim > 2:
            unit, entry = (self._position < 0).nonzero(as_tuple=True)
            at = -1 - self._position[unit, entry].long()
            self._position[unit, entry] = _first_maxima(activation, at, unit)
        else:
            self._position.clamp_(min=0)

    def _merge(
        self,
        units: torch.Tensor,
        values: torch.Tensor,
        stimuli: torch.Tensor,
        positions: torch.Tensor,
        entering: torch.Tensor,
        *,
        ordered: bool,
    ) -> None:
        """Sort the lists of some units together with what enters them: by stimulus, then stably by value.

        Where all lists are full and the new stimuli come after theirs (`ordered`), equal values are in order already.
        """
        import torch

        k = self._value.shape[1]
        stimuli = torch.where(entering, stimuli, _ABSENT)
        values = torch.where(entering, values, -np.inf)
        all_stimuli = torch.cat([self._stimulus[units], stimuli], 1)
        all_values = torch.cat([self._value[units], values], 1)
        all_positions = torch.cat([self._position[units], positions], 1)
        if not ordered:
            all_stimuli, order = all_stimuli.sort(dim=1, stable=True)
            all_values, all_positions = all_values.gather(1, order), all_positions.gather(1, order)
        all_values, order = all_values.sort(dim=1, descending=True, stable=True)
        self._value[units] = all_values[:, :k]
        self._stimulus[units] = all_stimuli.gather(1, order)[:, :k]
        self._position[units] = all_positions.gather(1, order)[:, :k]


def _first_maxima(activation: torch.Tensor, stimuli: torch.Tensor, units: torch.Tensor) -> torch.Tensor:
    """Find the first maximum, in row order, of some maps of (stimulus, unit, ...)."""
    import torch

    if activation.device.type == "cpu" and activation.dtype in (torch.float32, torch.float64):
        return torch.from_numpy(_first_maxima_in_memory(activation.numpy(), stimuli.numpy(), units.numpy()))
    found = []
    for some_stimuli, some_units in zip(stimuli.split(_MAPS), units.split(_MAPS)):
        maps = activation[some_stimuli, some_units].flatten(1)
        found.append((maps == maps.amax(1, keepdim=True)).to(torch.uint8).argmax(1).to(torch.int32))
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.int32, device=activation.device)


def _first_maxima_in_memory(activation: np.ndarray, stimuli: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Find them by numpy, whose argmax is eight times as fast as torch's; all at once where many are wanted."""
    n_maps = activation.shape[0] * activation.shape[1]
    if activation.flags.c_contiguous and len(units) > n_maps // 8:  # copies of so many would cost more
        return activation.reshape(*activation.shape[:2], -1).argmax(2)[stimuli, units].astype(np.int32)
    found = np.empty(len(units), dtype=np.int32)
    for first in range(0, len(units), _MAPS):
        some = slice(first, first + _MAPS)
        maps = activation[stimuli[some], units[some]]
        found[some] = maps.reshape(len(maps), -1).argmax(1)
    return found


_MAPS = 512  # maps copied at once: 26 MB of 112 x 112 places
