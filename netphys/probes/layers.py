"""What the layers of a network know about a label: one linear probe a layer, all on the same split of the stimuli."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, MatchError, OptionError, RecordingError, near
from netphys.files import ensure_folder, write_json, write_text
from netphys.probes.linear import LinearProbe, linear_probe
from netphys.probes.paired import mcnemar_p, newcombe_interval, wilson_interval
from netphys.probes.splitting import hold_out
from netphys.progress import bar
from netphys.provenance import digest, provenance
from netphys.recording import Recording
from netphys.scores import tidy
from netphys.threads import side_by_side

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["POOLS", "ProbeResult", "compare_probes", "probe"]

POOLS = ("as recorded", "mean")
_NO_CEILING = "none: labels are exact, 1 can be reached"


@dataclass(frozen=True, repr=False)
class ProbeResult:
    """Linear probes of the layers of one network, for one label, on one split."""

    layers: tuple[str, ...]
    probes: tuple[LinearProbe, ...]  # one a layer
    layer_index: tuple[int, ...]
    n_units: tuple[int, ...]
    label: str  # the column's name
    network: str
    training: str
    test_ids: tuple[str, ...]  # stimuli of the test, in the order of each probe's `correct`
    groups: str  # what was kept whole by the split; empty for single stimuli
    pool: str
    split: str  # digest: equal ones have the same stimuli in the same parts, with the same labels
    seed: int
    inputs: dict[str, str]  # digests

    def __repr__(self) -> str:
        return f"ProbeResult({self})"

    def __str__(self) -> str:
        best = self.probes[self.best]
        low, high = wilson_interval(int(best.correct.sum()), len(best.correct))
        many = f", best of {len(self.layers)} layers on held training stimuli" if len(self.layers) > 1 else ""
        return (
            f"{self.network}, {self.label}: {best.accuracy:.3f} [{low:.3f}, {high:.3f}] at {self.layers[self.best]}"
            f"{many}; chance {self.chance:.3f}"
        )

    @property
    def best(self) -> int:
        """The row of the best layer, chosen on a held part of the training stimuli: the test has no part in it."""
        return int(np.argmax([each.held_accuracy for each in self.probes]))

    @property
    def chance(self) -> float:
        """Share of the largest class of the test."""
        return self.probes[0].chance

    @property
    def measure(self) -> str:
        """What the score is, as the tidy frame says it."""
        return f"accuracy of a linear probe on {self.label}"

    def confusion(self, layer: str) -> pd.DataFrame:
        """Return a layer's confusion matrix, classes by answers: counts of test stimuli."""
        import pandas as pd

        found = self.probe(layer)
        return pd.DataFrame(found.confusion, index=list(found.classes), columns=list(found.classes))

    def probe(self, layer: str) -> LinearProbe:
        """Return a layer's probe."""
        if layer not in self.layers:
            raise LayerNotFound(f"no layer {layer!r} in this result{near(layer, self.layers)}")
        return self.probes[self.layers.index(layer)]

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame, one row a layer (:mod:`netphys.scores`); p is exact (binomial), against chance."""
        from scipy.stats import binom

        rows = []
        for row, (layer, each) in enumerate(zip(self.layers, self.probes)):
            n, n_right = len(each.correct), int(each.correct.sum())
            low, high = wilson_interval(n_right, n)
            rows.append(
                {
                    "network": self.network,
                    "training": self.training,
                    "layer": layer,
                    "layer_index": self.layer_index[row],
                    "dataset": self.label,
                    "region": "",
                    "subject": "",
                    "measure": self.measure,
                    "score": each.accuracy,
                    "ci_low": low,
                    "ci_high": high,
                    "ceiling_rule": _NO_CEILING,
                    "n_stimuli": n,
                    "n_units": self.n_units[row],
                    "p": float(binom.sf(n_right - 1, n, each.chance)),
                    "seed": self.seed,
                }
            )
        return tidy(rows)

    def difference(
        self, other: ProbeResult | None = None, *, pairs: Sequence[tuple[str, str]] | None = None
    ) -> pd.DataFrame:
        """Compare accuracies on the same test stimuli, layer by layer.

        Parameters
        ----------
        other : ProbeResult, optional
            Of another network on the same stimuli, labels and split. Default: this result, whose layers are compared.
        pairs : sequence of (own layer, other's layer), optional
            Default: the layers of the same name.

        Returns
        -------
        pandas.DataFrame
            ``network, layer, other_network, other_layer, difference, ci_low, ci_high, p, n_stimuli``: Newcombe's 95 %
            interval of the paired difference and McNemar's exact two-sided p, not corrected for the number of rows.

        Raises
        ------
        MatchError
            If the two do not rest on the same split.
        OptionError
            If no layers share a name and no pairs are given.
        """
        import pandas as pd

        other = self if other is None else other
        if other.split != self.split:
            raise MatchError(
                f"{self.network} and {other.network} were not tested on the same stimuli: other stimuli, labels, seed, "
                "groups or test share; probe both alike"
            )
        if pairs is None:
            pairs = [(each, each) for each in self.layers if each in other.layers]
        if not pairs or (other is self and all(first == second for first, second in pairs)):
            raise OptionError(
                f"no layers to compare between {self.network} and {other.network}; give pairs=[(layer, layer), ...]"
            )
        rows = [_compared(self, first, other, second) for first, second in pairs]
        return pd.DataFrame(rows)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw accuracy layer by layer with 95 % intervals, and the chance line."""
        from netphys.probes.drawing import plot_layers

        return plot_layers(self, ax)

    def save(self, folder: Path | str, name: str = "probe") -> list[Path]:
        """Write ``NAME.csv`` (the tidy frame) and ``NAME.json`` (what made it); return both paths."""
        folder = ensure_folder(folder)
        options = {"label": self.label, "pool": self.pool, "groups": self.groups, "n_test": len(self.test_ids)}
        made = provenance(
            "probe",
            options,
            {**self.inputs, "split": self.split},
            seed=self.seed,
            finding=str(self),
            interval="95 %, Wilson, over test stimuli",
            p="one-sided, exact binomial against the share of the largest class of the test",
            layers={
                layer: {
                    "penalty": each.penalty,
                    "n_features": each.n_features,
                    "held_accuracy": each.held_accuracy,
                    "converged": each.converged,
                    "gradient_norm": each.gradient_norm,
                }
                for layer, each in zip(self.layers, self.probes)
            },
        )
        table = write_text(folder / f"{name}.csv", self.to_frame().to_csv(index=False))
        return [table, write_json(folder / f"{name}.json", made)]


def probe(
    recording: Recording,
    labels: str | Sequence[Any] | Mapping[str, Any] | pd.Series,
    *,
    layers: str | Sequence[str] | None = None,
    pool: str = "as recorded",
    test: float = 0.25,
    groups: str | Sequence[Any] | Mapping[str, Any] | pd.Series | None = None,
    seed: int = 0,
    network: str | None = None,
    training: str | None = None,
) -> ProbeResult:
    """Probe the layers of a recording for a label.

    Parameters
    ----------
    recording : Recording
        Activations; recorded with ``keep="pooled"`` or ``"mean"`` they fit memory and probes are quick.
    labels : str, sequence or mapping
        A column of the recording's metadata; or the class of each stimulus, in the order of the recording or by id. A
        pandas Series is taken in its order, its name is the label's.
    layers : str or sequence of str, optional
        Patterns; default all.
    pool : {"as recorded", "mean"}
        All numbers that were recorded of a layer, or the mean of each unit over its positions.
    test : float
        Share of the stimuli of each class that is kept for the test.
    groups : as labels, optional
        What is kept whole by the split: a scene, an object. Stimuli of one scene in training and test let a probe
        recognise the scene instead of the class.
    seed : int
        Of the split. Equal seeds split equal stimuli (their ids and labels) equally, whatever the network.
    network, training : str, optional
        As in the tidy frame; default: the recording's.

    Returns
    -------
    ProbeResult

    Raises
    ------
    OptionError
        If there is no such column, a stimulus has no label, there is one class only, or too few stimuli a class.
    RecordingError
        If an activation is not finite.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> classes = ["cat", "dog"] * 50
    >>> signal = np.array(classes)[:, None] == "dog"
    >>> arrays = {"noise": rng.normal(size=(100, 5)), "signal": rng.normal(size=(100, 5)) + 4 * signal}
    >>> recording = Recording.from_arrays(arrays, [f"{i}" for i in range(100)], name="toy")
    >>> result = probe(recording, classes)
    >>> result.layers[result.best], result.probe("signal").accuracy
    ('signal', 1.0)
    """
    if pool not in POOLS:
        raise OptionError(f"pool={pool!r} is not known{near(str(pool), POOLS)}")
    chosen = recording if layers is None else recording.select(layers=layers)
    label, names = _column(chosen, labels, "labels")
    if len(set(names)) < 2:
        raise OptionError(f"all stimuli are {names[0]!r} in {label!r}; a probe needs two classes or more")
    grouping, members = ("", None) if groups is None else _column(chosen, groups, "groups")
    held = hold_out(chosen.stimulus_ids, names, test, groups=members, seed=seed)
    order = np.argsort(np.array(chosen.stimulus_ids, dtype=str), kind="stable")
    rows = {"train": order[~held[order]], "test": order[held[order]]}  # by id: no number hangs on the recording's order

    def of_layer(layer: str) -> LinearProbe:
        return linear_probe(_features(chosen, layer, pool), names, **rows, groups=members, seed=seed)

    with bar(len(chosen.layers), label=f"probing {chosen.name}", unit="layer") as progress:
        probes = side_by_side(of_layer, chosen.layers, done=lambda: progress.update(1))
    ids = np.array(chosen.stimulus_ids, dtype=object)
    parts = {part: [[ids[row], names[row]] for row in which] for part, which in rows.items()}
    return ProbeResult(
        layers=chosen.layers,
        probes=tuple(probes),
        layer_index=tuple(chosen.layer_index(each) for each in chosen.layers),
        n_units=tuple(chosen.shape(each)[1] for each in chosen.layers),
        label=label,
        network=network or chosen.name,
        training=training or chosen.training,
        test_ids=tuple(ids[rows["test"]]),
        groups=grouping,
        pool=pool,
        split=digest(parts),
        seed=seed,
        inputs={"recording": str(recording.header.get("digest", "")), **_digests(chosen.layers, probes)},
    )


def compare_probes(results: Mapping[str, ProbeResult], pairs: Sequence[tuple[str, str]] | None = None) -> pd.DataFrame:
    """Compare the best layers of networks, each chosen on held training stimuli, on the same test stimuli.

    Parameters
    ----------
    results : mapping
        Name → result on the same split.
    pairs : sequence of (name, name), optional
        Default: every result with every later one.

    Returns
    -------
    pandas.DataFrame
        As :meth:`ProbeResult.difference`.
    """
    import pandas as pd

    names = list(results)
    if pairs is None:
        pairs = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
    rows = []
    for a, b in pairs:
        for name in (a, b):
            if name not in results:
                raise OptionError(f"no result {name!r}{near(name, names)}")
        first, second = results[a], results[b]
        rows.append(first.difference(second, pairs=[(first.layers[first.best], second.layers[second.best])]))
    if not rows:
        raise OptionError("two results or more are needed to compare")
    return pd.concat(rows, ignore_index=True)


def _column(recording: Recording, given: Any, what: str) -> tuple[str, list[str]]:
    """Return a column's name and its values as text, one a stimulus; every stimulus has one."""
    if isinstance(given, str):
        table = recording.metadata
        if given not in table:
            own = [each for each in map(str, table.columns) if each != "stimulus_id"]
            hint = near(given, own) if own else "; it has none but stimulus_id: name a file (FILE:COLUMN)"
            raise OptionError(f"the metadata of {recording.name} have no column {given!r}{hint}")
        name, values = given, list(table[given])
    elif isinstance(given, Mapping):
        absent = [each for each in recording.stimulus_ids if each not in given]
        if absent:
            hint = near(absent[0], map(str, given))
            raise MatchError(f"{len(absent)} stimuli of {recording.name} have no {what}, first {absent[0]!r}{hint}")
        name, values = what, [given[each] for each in recording.stimulus_ids]
    else:
        name, values = str(getattr(given, "name", None) or what), list(given)
        if len(values) != len(recording):
            raise OptionError(f"{len(values)} {what} for {len(recording)} stimuli of {recording.name}")
    missing = [at for at, each in enumerate(values) if each is None or each != each or str(each) == ""]
    if missing:
        first = recording.stimulus_ids[missing[0]]
        raise OptionError(
            f"{len(missing)} of {len(values)} stimuli have no value in {name!r}, first {first!r}; select those that do"
        )
    return name, [str(each) for each in values]


def _features(recording: Recording, layer: str, pool: str) -> np.ndarray:
    """Read a layer as (stimulus, feature)."""
    values = recording.array(layer)
    if pool == "mean" and values.ndim > 2:
        values = values.reshape(*values.shape[:2], -1).mean(-1, dtype=np.float64)
    values = values.reshape(len(values), -1)
    odd = ~np.isfinite(values)
    if odd.any():
        first = recording.stimulus_ids[int(np.flatnonzero(odd.any(1))[0])]
        raise RecordingError(
            f"layer {layer!r} of {recording.name} has {int(odd.sum())} activations that are not finite (NaN or "
            f"infinite), first to stimulus {first!r}; leave the layer or the stimuli out"
        )
    return values


def _digests(layers: Sequence[str], probes: Sequence[LinearProbe]) -> dict[str, str]:
    return {f"features of {layer}": each.inputs["features"] for layer, each in zip(layers, probes)}


def _compared(one: ProbeResult, first: str, other: ProbeResult, second: str) -> dict[str, object]:
    """Compare two layers."""
    a, b = one.probe(first), other.probe(second)
    low, high = newcombe_interval(a.correct, b.correct)
    return {
        "network": one.network,
        "layer": first,
        "other_network": other.network,
        "other_layer": second,
        "difference": a.accuracy - b.accuracy,
        "ci_low": low,
        "ci_high": high,
        "p": mcnemar_p(a.correct, b.correct),
        "n_stimuli": len(a.correct),
    }
