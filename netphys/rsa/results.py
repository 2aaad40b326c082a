"""What a comparison of RDMs found: scores, intervals, differences, and how they are shown and saved."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import LayerNotFound, MatchError, OptionError, near
from netphys.files import ensure_folder, write_json, write_text
from netphys.inference import resampled_variance, t_interval, t_p
from netphys.provenance import provenance
from netphys.rsa.ceilings import NoiseCeiling
from netphys.scores import tidy

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Float
    from matplotlib.axes import Axes

__all__ = ["Difference", "RSAResult", "compare_models"]

_Layer = str | tuple[str, str]  # "layer", "network/layer" or (network, layer)


@dataclass(frozen=True, repr=False)
class RSAResult:
    """How well the RDMs of layers (or models) agree with those of neural data."""

    layers: tuple[str, ...]
    layer_index: tuple[int, ...]
    networks: tuple[str, ...]  # of each layer
    n_units: tuple[int | None, ...]  # of each layer, where known
    scores: Float[np.ndarray, " layer"]  # mean over subjects, on the stimuli as they were shown
    variance: Float[np.ndarray, " layer"]  # of the score, for other stimuli of the kind
    ceiling: NoiseCeiling
    subject_scores: Float[np.ndarray, "layer subject"]
    draws_scores: Float[np.ndarray, "bootstrap layer"]
    draws_ceiling: Float[np.ndarray, "bootstrap bound"]  # lower, upper; missing where it was not asked for
    subjects: tuple[str, ...]
    method: str
    measure: str  # "spearman of correlation RDMs"
    training: tuple[str, ...]  # of each layer's network: an objective's name, "untrained", "pretrained" or "none"
    dataset: str
    region: str
    n_stimuli: int
    kept: float  # fraction of the pairs of stimuli that have a dissimilarity in all RDMs
    n_bootstraps: int
    seed: int
    inputs: dict[str, str]  # digests

    def __repr__(self) -> str:
        return f"RSAResult({self})"

    def __str__(self) -> str:
        ceiling = f"ceiling {self.ceiling}"
        if not np.isfinite(self.scores).any():
            return f"no score for {len(self.layers)} layers, {ceiling}"
        best = self.best
        many = f" best of {len(self.layers)} layers" if len(self.layers) > 1 else ""
        low, high = self.ci_low[best], self.ci_high[best]
        interval = f" [{low:.2f}, {high:.2f}]" if np.isfinite(low) else ""
        return f"{self.layers[best]}{many}: {self.scores[best]:.2f}{interval}, {ceiling}"

    @property
    def best(self) -> int:
        """The row of the best layer; chosen on these data, so its score is a little optimistic."""
        return int(np.nanargmax(self.scores))

    @property
    def dof(self) -> int:
        """Degrees of freedom of intervals and tests: stimuli - 1."""
        return self.n_stimuli - 1

    @cached_property
    def _interval(self) -> tuple[np.ndarray, np.ndarray]:
        return t_interval(self.scores, self.variance, self.dof)

    @property
    def ci_low(self) -> Float[np.ndarray, " layer"]:
        """Lower ends of the 95 % intervals."""
        return self._interval[0]

    @property
    def ci_high(self) -> Float[np.ndarray, " layer"]:
        """Upper ends of the 95 % intervals."""
        return self._interval[1]

    @property
    def p(self) -> Float[np.ndarray, " layer"]:
        """One-sided p-values against 0, not corrected for the number of layers (:func:`netphys.inference.fdr_bh`)."""
        return t_p(self.scores, self.variance, self.dof)

    def difference(self, layer_a: _Layer, layer_b: _Layer) -> Difference:
        """Compare two layers of this result, draw by draw.

        A layer that several networks have is named ``"network/layer"`` or (network, layer).

        Examples
        --------
        >>> from netphys.rsa import evaluate
        >>> rdm = np.arange(1.0, 16.0)
        >>> evaluate({"a": rdm, "b": rdm[::-1]}, rdm, n_bootstraps=50).difference("a", "b").estimate
        2.0
        """
        return compare_models(self, self, layer_a=layer_a, layer_b=layer_b)

    def to_frame(self) -> pd.DataFrame:
        """Return the tidy frame, one row a layer (:mod:`netphys.scores`)."""
        subject = self.subjects[0] if len(self.subjects) == 1 else f"mean of {len(self.subjects)}"
        shared = {
            "dataset": self.dataset,
            "region": self.region,
            "subject": subject,
            "measure": self.measure,
            "ceiling_low": self.ceiling.lower,
            "ceiling_high": self.ceiling.upper,
            "ceiling_rule": self.ceiling.rule,
            "n_stimuli": self.n_stimuli,
            "seed": self.seed,
        }
        ceiled = self.scores / self.ceiling.lower if self.ceiling.lower > 0 else np.full(len(self.scores), np.nan)
        return tidy(
            {
                **shared,
                "network": self.networks[row],
                "training": self.training[row],
                "layer": layer,
                "layer_index": self.layer_index[row],
                "score": self.scores[row],
                "ci_low": self.ci_low[row],
                "ci_high": self.ci_high[row],
                "score_ceiled": ceiled[row],
                "n_units": self.n_units[row],
                "p": self.p[row],
            }
            for row, layer in enumerate(self.layers)
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw scores over layers, their intervals and the noise ceiling (:func:`netphys.rsa.drawing.plot_profile`)."""
        from netphys.rsa.drawing import plot_profile

        return plot_profile(self, ax)

    def save(self, folder: Path | str, name: str = "rsa") -> Path:
        """Write ``NAME.csv`` (the tidy frame) and ``NAME.json`` (what made it); return the path of the CSV."""
        folder = ensure_folder(folder)
        record = provenance(
            "rsa.evaluate",
            {"method": self.method, "n_bootstraps": self.n_bootstraps},
            self.inputs,
            seed=self.seed,
            finding=str(self),
            kept_pairs=self.kept,
            ceiling_noise_only=self.ceiling.noise_only,
            interval=f"95 %, t with {self.dof} degrees of freedom; variance over draws of stimuli times n/(n-1)",
            subjects=list(self.subjects),
        )
        write_json(folder / f"{name}.json", record)
        return write_text(folder / f"{name}.csv", self.to_frame().to_csv(index=False))


@dataclass(frozen=True, repr=False)
class Difference:
    """The difference of two scores on the same draws of stimuli."""

    first: str
    second: str
    estimate: float  # score of the first minus that of the second
    ci_low: float
    ci_high: float
    p: float  # two-sided
    n_bootstraps: int

    def __repr__(self) -> str:
        return f"Difference({self})"

    def __str__(self) -> str:
        interval = f"[{self.ci_low:.3f}, {self.ci_high:.3f}]"
        return f"{self.first} - {self.second}: {self.estimate:+.3f} {interval}, p = {self.p:.2g}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row: first, second, estimate, ci_low, ci_high, p, n_bootstraps."""
        import pandas as pd

        return pd.DataFrame([vars(self)])


def compare_models(
    result_a: RSAResult, result_b: RSAResult, *, layer_a: _Layer | None = None, layer_b: _Layer | None = None
) -> Difference:
    """Compare two scores on the same draws of stimuli.

    Parameters
    ----------
    result_a, result_b : RSAResult
        Results on the same data with the same method, seed and number of bootstraps.
    layer_a, layer_b : str or (str, str), optional
        The layers to compare, as ``"layer"``, ``"network/layer"`` or (network, layer); by default the best of each,
        which is chosen on the same data.

    Returns
    -------
    Difference
        The 95 % interval and the two-sided p are by t with stimuli - 1 degrees of freedom, from the variance of the
        paired difference over draws, times ``n / (n - 1)``.

    Raises
    ------
    MatchError
        If the two results do not rest on the same data and draws.
    LayerNotFound, OptionError
        If there is no such layer, or more than one.

    Examples
    --------
    >>> from netphys.rsa import evaluate
    >>> rdm = np.arange(1.0, 16.0)
    >>> a, b = (evaluate({"a": each}, rdm, n_bootstraps=50) for each in (rdm, rdm[::-1]))
    >>> compare_models(a, b).estimate
    2.0
    """
    for name in ("method", "seed", "n_bootstraps"):
        if getattr(result_a, name) != getattr(result_b, name):
            raise MatchError(
                f"results cannot be compared draw by draw: {name} is {getattr(result_a, name)!r} in one and "
                f"{getattr(result_b, name)!r} in the other"
            )
    if result_a.inputs["data"] != result_b.inputs["data"]:
        raise MatchError("results cannot be compared draw by draw: they are of other data, stimuli, or pairs of them")
    row_a, row_b = _row(result_a, layer_a), _row(result_b, layer_b)
    estimate = float(result_a.scores[row_a] - result_b.scores[row_b])
    paired = result_a.draws_scores[:, row_a] - result_b.draws_scores[:, row_b]
    variance = resampled_variance(paired, result_a.n_stimuli)
    low, high = t_interval(estimate, variance, result_a.dof)
    return Difference(
        first=_full_name(result_a, row_a),
        second=_full_name(result_b, row_b),
        estimate=estimate,
        ci_low=float(low),
        ci_high=float(high),
        p=float(t_p(estimate, variance, result_a.dof, sided="two")),
        n_bootstraps=result_a.n_bootstraps,
    )


def _row(result: RSAResult, layer: _Layer | None) -> int:
    """Find a layer of a result; the best one by default."""
    if layer is None:
        return result.best
    full = [f"{network}/{name}".removeprefix("/") for network, name in zip(result.networks, result.layers)]
    wanted = layer if isinstance(layer, str) else "/".join(layer)
    rows = [row for row, names in enumerate(zip(result.layers, full)) if wanted in names[isinstance(layer, tuple) :]]
    if not rows:
        raise LayerNotFound(f"no layer {wanted!r} in this result{near(wanted, [*result.layers, *full])}")
    if len(rows) > 1:
        which = ", ".join(repr(full[row]) for row in rows[:3])
        raise OptionError(f"{wanted!r} names {len(rows)} models of this result; say which: {which}")
    return rows[0]


def _full_name(result: RSAResult, row: int) -> str:
    """Name a layer with its network, where that is known."""
    return f"{result.networks[row]} {result.layers[row]}".strip()
