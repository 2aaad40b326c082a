"""Which filters are Gabor functions? A fit, and the R² that noise of the same smoothness reaches.

R² alone does not answer it: nine parameters follow much of a smooth patch of 81 pixels, whatever it is. A filter
counts as Gabor-like where its R² is at least 0.7 *and* above the 95 % quantile of noise of the same size and the same
radial spectrum, and where at least part of a period lies under its envelope (f σx >= 0.15); narrower ones are blobs and
are counted apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from netphys.errors import OptionError
from netphys.files import ensure_folder, write_json, write_text
from netphys.provenance import array_digest, provenance
from netphys.units.gabor_model import PARAMETERS, fit_many, gabor
from netphys.units.gabor_null import radial_noise

if TYPE_CHECKING:
    import pandas as pd
    from jaxtyping import Bool, Float
    from matplotlib.axes import Axes

__all__ = ["PARAMETERS", "GaborFits", "fit_gabors", "gabor"]

SMALLEST = 7  # pixels: nine parameters fit anything of 3 x 3, and half of any 5 x 5
LEAST_R2 = 0.7
BLOB = 0.15  # cycles: f σx below which no side lobe is left
QUANTILE = 0.95
LEAST_NULL = 200  # noise filters: the 95 % quantile of fewer rests on less than ten of them


@dataclass(frozen=True, repr=False)
class GaborFits:
    """Gabor functions fitted to filters, and what the same fit makes of noise."""

    parameters: Float[np.ndarray, "unit 9"]  # in the order of PARAMETERS; NaN for a constant filter
    r2: Float[np.ndarray, " unit"]
    null_r2: Float[np.ndarray, " noise"]  # of noise of the same size and radial spectrum
    threshold: float  # of R²
    side: int  # pixels, the shorter one
    seed: int
    digest: str  # of what was fitted
    name: str = ""

    def __repr__(self) -> str:
        return f"GaborFits({self})"

    def __str__(self) -> str:
        n, found, blobs = len(self.r2), int(self.is_gabor.sum()), int(self.is_blob.sum())
        whose = f"{self.name}: " if self.name else ""
        return (
            f"{whose}{found} of {n} filters Gabor-like ({self.fraction:.0%}), {blobs} blobs; "
            f"R2 >= {self.threshold:.2f}; {QUANTILE:.0%} of {len(self.null_r2)} noise filters of the same spectrum "
            f"are below {np.quantile(self.null_r2, QUANTILE):.2f}"
        )

    @property
    def _narrow(self) -> Bool[np.ndarray, " unit"]:
        return self["frequency"] * self["sigma_x"] < BLOB

    @property
    def is_gabor(self) -> Bool[np.ndarray, " unit"]:
        """Which filters are Gabor-like: R² at least `threshold`, and no blob."""
        return (self.r2 >= self.threshold) & ~self._narrow

    @property
    def is_blob(self) -> Bool[np.ndarray, " unit"]:
        """Which filters are well fitted (R² at least `threshold`) by a function without side lobes, f σx < 0.15."""
        return (self.r2 >= self.threshold) & self._narrow

    @property
    def fraction(self) -> float:
        """Gabor-like filters among all, blobs and constant ones included below the line."""
        return float(self.is_gabor.mean())

    def __getitem__(self, parameter: str) -> Float[np.ndarray, " unit"]:
        """One parameter of all units, by its name in :data:`PARAMETERS`."""
        return self.parameters[:, PARAMETERS.index(parameter)]

    def to_frame(self) -> pd.DataFrame:
        """One row a unit: the parameters, r2, is_gabor, is_blob.

        Units are those of :func:`netphys.units.gabor.gabor`: pixels, degrees, cycles a pixel.
        """
        import pandas as pd

        frame = pd.DataFrame(self.parameters, columns=list(PARAMETERS))
        frame.insert(0, "unit", np.arange(len(frame)))
        return frame.assign(r2=self.r2, is_gabor=self.is_gabor, is_blob=self.is_blob)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the distribution of R² of the filters and of noise, with the threshold."""
        from netphys.units.filter_drawing import plot_fits

        return plot_fits(self, ax)

    def save(self, folder: Path | str, name: str = "gabors") -> Path:
        """Write ``NAME.csv`` (the frame) and ``NAME.json`` (what made it); return the path of the CSV."""
        folder = ensure_folder(folder)
        record = provenance(
            "units.fit_gabors",
            {"n_null": len(self.null_r2)},
            {"patterns": self.digest},
            seed=self.seed,
            finding=str(self),
            threshold=self.threshold,
        )
        write_json(folder / f"{name}.json", record)
        return write_text(folder / f"{name}.csv", self.to_frame().to_csv(index=False))


def fit_gabors(
    patterns: Float[np.ndarray, "unit y x"], *, n_null: int = LEAST_NULL, seed: int = 0, name: str = ""
) -> GaborFits:
    """Fit a Gabor function to each pattern, and to noise.

    Parameters
    ----------
    patterns : array (unit, y, x)
        Of one colour, at least 7 x 7, any scale, y down.
    n_null : int
        Noise filters of the same size and radial spectrum, at least 200; see
        :func:`netphys.units.gabor_null.radial_noise`.
    seed : int
        Of the noise.
    name : str
        What the result calls them.

    Raises
    ------
    OptionError
        If the patterns are smaller than 7 x 7, not finite, all constant, or `n_null` is below 200.

    Notes
    -----
    The function and its bounds: :mod:`netphys.units.gabor_model`. R² = 1 - SSE/SST, SST about the mean of the pattern.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> noise = rng.normal(size=(20, 9, 9))
    >>> fit_gabors(noise).is_gabor.sum()
    np.int64(0)
    """
    patterns = np.asarray(patterns, np.float64)
    if patterns.ndim != 3 or not patterns.size:
        raise OptionError(f"patterns for a Gabor fit are (unit, y, x), not an array of shape {patterns.shape}")
    side = min(patterns.shape[1:])
    if side < SMALLEST:
        size = " x ".join(map(str, patterns.shape[1:]))
        raise OptionError(
            f"a Gabor function has 9 parameters and fits anything of {size} pixels; "
            f"filters of at least {SMALLEST} x {SMALLEST} are needed"
        )
    if n_null < LEAST_NULL:
        raise OptionError(
            f"n_null={n_null} noise filters are too few for a {QUANTILE:.0%} quantile; at least {LEAST_NULL}"
        )
    if not np.isfinite(patterns).all():
        raise OptionError("a pattern for a Gabor fit has a value that is not finite")
    parameters, r2 = fit_many(patterns)
    varies = np.isfinite(r2)
    if not varies.any():
        raise OptionError("no pattern for a Gabor fit varies over its pixels; there is nothing to fit")
    _, null_r2 = fit_many(radial_noise(patterns[varies], n_null, seed=seed))
    threshold = max(LEAST_R2, float(np.quantile(null_r2, QUANTILE)))
    return GaborFits(parameters, r2, null_r2, threshold, side, seed, array_digest(patterns), name)
