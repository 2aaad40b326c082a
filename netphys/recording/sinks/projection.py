"""A sink that keeps a sparse random projection of each layer in memory, for distances between stimuli of wide layers.

The numbers are those of ``keep="projection?..."`` (:mod:`netphys.recording.keep.projection`), beside whatever the
recording itself keeps. Memory: k numbers a stimulus and layer, and the same in the state of every shard; for larger
sets record with that keep instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.recording.keep.projection import Projection
from netphys.recording.layers import Layer
from netphys.recording.patterns import match_layers

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from matplotlib.axes import Axes

    from netphys.recording.file.reading import Recording

__all__ = ["ProjectedLayers", "RandomProjection"]

_MEASURED = "measured/"  # of the state: what the keep measured, by layer


@dataclass(frozen=True, repr=False)
class ProjectedLayers:
    """Layers projected to k numbers each.

    Attributes
    ----------
    arrays : mapping of str to float32 array (stimulus, k)
        By layer, in order of execution; layers of no more than k numbers are whole.
    stimulus_ids : tuple of str
        One a row.
    measured : mapping of str to dict
        By layer, how far squared distances were off: see
        :meth:`netphys.recording.keep.projection.Projection.measured`.
    """

    arrays: Mapping[str, np.ndarray]
    stimulus_ids: tuple[str, ...]
    measured: Mapping[str, Mapping[str, Any]]

    def __repr__(self) -> str:
        n = len(self.arrays)
        found = [(said["epsilon"], layer) for layer, said in self.measured.items() if said.get("epsilon") is not None]
        said = "not measured" if not found else "{:.3f} at most ({})".format(*max(found))
        return (
            f"ProjectedLayers({n} layer{'s' * (n != 1)} x {len(self.stimulus_ids)} stimuli: "
            f"error of squared distances {said})"
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a layer: numbers before and behind, error of squared distances, of how many pairs, bound."""
        import pandas as pd

        columns = ["n_numbers", "k", "s", "epsilon", "epsilon_rms", "bound", "n_pairs", "n_stimuli"]
        rows = []
        for layer, said in self.measured.items():
            whole = {"k": said["n_numbers"], "epsilon": 0.0, "epsilon_rms": 0.0} if said.get("whole") else {}
            rows.append({"layer": layer, **{each: {**said, **whole}.get(each) for each in columns}})
        frame = pd.DataFrame(rows, columns=["layer", *columns])
        return frame.astype(dict.fromkeys(("s", "epsilon", "epsilon_rms", "bound"), float))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the largest and the root mean square error of squared distances by layer, with the bound."""
        frame = self.to_frame()
        if ax is None:
            from matplotlib.figure import Figure

            ax = Figure().add_subplot()
        places = np.arange(len(frame))
        ax.plot(places, frame["epsilon"], "o", color="black", label="largest of all pairs")
        ax.plot(places, frame["epsilon_rms"], "o", markerfacecolor="none", color="black", label="root mean square")
        ax.hlines(frame["bound"], places - 0.3, places + 0.3, color="0.6", label="bound")
        ax.set_xticks(places, frame["layer"], rotation=45, ha="right", rotation_mode="anchor")
        ax.set_ylabel("relative error of squared distances")
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
        return ax

    def recording(self, name: str = "projected") -> Recording:
        """Return the projections as a recording in memory, for RDMs and probes."""
        from netphys.recording.file.reading import Recording

        return Recording.from_arrays(self.arrays, self.stimulus_ids, name=name)


class RandomProjection:
    """Project layers to `k` numbers a stimulus in the pass that records them.

    Parameters
    ----------
    k, eps, n, s, seed
        As of :class:`netphys.recording.keep.projection.Projection`.
    layers : str or sequence of str, optional
        Patterns, of the layers that are recorded; default all of them.

    Raises
    ------
    OptionError
        If it is not said how many numbers, or an option is out of its range.
    LayerNotFound
        When a pass begins, if a pattern matches no recorded layer.

    Examples
    --------
    >>> import netphys
    >>> sink = RandomProjection(50)
    >>> _ = netphys.record("netphys:gabor_energy", "world:scenes?n=8", layers="energy", keep="mean", sinks=[sink])
    >>> sink.result.arrays["energy"].shape
    (8, 50)
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        eps: float | None = None,
        n: int | None = None,
        s: float | str = "sqrt",
        seed: int = 0,
        layers: str | Sequence[str] | None = None,
    ) -> None:
        self._keep = Projection(k, eps=eps, n=n, s=s, seed=seed)
        self._patterns = layers
        self._layers: dict[str, Layer] = {}
        self._arrays: dict[str, np.ndarray] = {}
        self._ids: tuple[str, ...] = ()
        self._seen = np.zeros(0, bool)

    def plan(self) -> Mapping[str, Any]:
        """Say every option that the result depends on."""
        patterns = [self._patterns] if isinstance(self._patterns, str) else self._patterns
        return {"keep": self._keep.address, "layers": None if patterns is None else list(patterns)}

    def open(self, layers: Sequence[Layer], stimulus_ids: Sequence[str]) -> None:
        """Get ready."""
        if self._patterns is not None:
            names = set(match_layers(self._patterns, layers, network="the recorded layers"))
            layers = [each for each in layers if each.name in names]
        self._layers, self._ids = {each.name: each for each in layers}, tuple(stimulus_ids)
        self._seen = np.zeros(len(stimulus_ids), bool)
        shapes = {each.name: (len(stimulus_ids), *self._keep.shape(each)) for each in layers}
        self._arrays = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        self._keep.load_state_dict({})

    def write(self, layer: str, rows: np.ndarray, activation: torch.Tensor) -> None:
        """Take one layer's activation."""
        if layer not in self._layers:
            return
        self._keep.at(int(rows[0]))
        kept = self._keep.reduce(activation, self._layers[layer])
        self._arrays[layer][rows] = kept.float().cpu().numpy()
        self._seen[rows] = True

    def close(self) -> ProjectedLayers:
        """Finish, and return the result."""
        return self.result

    @property
    def result(self) -> ProjectedLayers:
        """What has been projected."""
        measured = {name: self._keep.measured(layer) for name, layer in self._layers.items()}
        return ProjectedLayers(self._arrays, self._ids, measured)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Everything that a resumed pass needs: the rows so far, and what was measured."""
        rows = np.flatnonzero(self._seen)
        kept = {f"array/{name}": array[rows] for name, array in self._arrays.items()}
        return {**kept, **{_MEASURED + name: array for name, array in self._keep.state_dict().items()}, "rows": rows}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state."""
        self._take_rows(state)
        self._keep.load_state_dict(_measured(state))

    def merge(self, state: Mapping[str, np.ndarray]) -> None:
        """Join what another sink's `state_dict` returned."""
        self._take_rows(state)
        self._keep.merge(_measured(state))

    def _take_rows(self, state: Mapping[str, np.ndarray]) -> None:
        for name, array in self._arrays.items():
            array[state["rows"]] = state[f"array/{name}"]
        self._seen[state["rows"]] = True


def _measured(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Find what was measured in a saved state."""
    return {key.removeprefix(_MEASURED): value for key, value in state.items() if key.startswith(_MEASURED)}
