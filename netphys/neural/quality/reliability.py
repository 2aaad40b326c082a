"""How reliable is a neuroid? The share of the variance of its mean responses that is signal, two ways, with interval.

Random halves of the repetitions, corrected to all of them (Spearman-Brown), and the analysis of variance that gives
the expected value over all halves without drawing any (definitions: neural data, 1.6). What a model can reach at best
follows from it: :mod:`netphys.neural.quality.ceilings`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

import numpy as np

from netphys.errors import NeuralDataError, OptionError, near
from netphys.neural.assemblies import assembly_of, first_presentations, require_assembly
from netphys.neural.operations.averaging import require_trials
from netphys.neural.quality.split_halves import Blocks, half_correlation, shuffled_blocks, spearman_brown
from netphys.neural.quality.variance_components import interval_of, variance_components
from netphys.seeds import generator

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from jaxtyping import Float
    from matplotlib.axes import Axes

    from netphys.neural.assemblies import Responses

__all__ = ["Reliability", "reliability"]

_CHUNK = 2**21  # numbers that are made float64 at a time: 16 MiB, of which two copies live
_LEAST = 3  # stimuli shown twice: the correlation of two is 1 or -1
_CONSTANT = 1e-24  # of the mean square: what rounding leaves of the variance of a neuroid that does not vary
_NAMES = {"split_half": "Spearman-Brown of split halves", "anova": "analysis of variance"}


@dataclass(frozen=True, repr=False, eq=False)
class Reliability:
    """Reliability of the mean over presentations, a neuroid; with time bins every array is (neuroid, time_bin).

    NaN: no value (fewer than 3 stimuli shown twice, a neuroid that does not vary, or, of split halves only, a half
    that does not vary). Negative estimates stay negative; :attr:`clipped` is for display.
    """

    split_half: Float[np.ndarray, "neuroid ..."]  # mean over splits of the correlation of two halves, r
    spearman_brown: Float[np.ndarray, "neuroid ..."]  # the same corrected to all repetitions
    anova: Float[np.ndarray, "neuroid ..."]  # its exact expected value, s2 / (s2 + MSE / R)
    signal_variance: Float[np.ndarray, "neuroid ..."]  # s2 over stimuli, squared unit of the responses
    noise_variance: Float[np.ndarray, "neuroid ..."]  # of a single presentation
    low: Float[np.ndarray, "neuroid ..."]  # interval of `rho` over stimuli
    high: Float[np.ndarray, "neuroid ..."]
    n_repetitions: Float[np.ndarray, "neuroid ..."]  # harmonic mean over stimuli
    n_stimuli: Float[np.ndarray, "neuroid ..."]  # shown at least twice; others are left out
    n_single: Float[np.ndarray, "neuroid ..."]  # shown once and left out
    presentations: tuple[int, int]  # fewest and most of a stimulus that counts
    method: Literal["split_half", "anova"]  # which one `rho` is
    confidence: float
    coordinates: dict[str, np.ndarray]  # of the neuroids: neuroid_id, animal, region, ...
    time_bins: dict[str, np.ndarray] | None = None  # time_bin_start, time_bin_end in ms, where there are bins

    @property
    def rho(self) -> Float[np.ndarray, "neuroid ..."]:
        """The reliability, by `method`."""
        return self.spearman_brown if self.method == "split_half" else self.anova

    @property
    def clipped(self) -> Float[np.ndarray, "neuroid ..."]:
        """`rho` within 0 and 1, for display only: means of clipped values are biased upwards."""
        return np.clip(self.rho, 0.0, 1.0)

    @property
    def neuroid_ids(self) -> tuple[str, ...]:
        """The neuroids."""
        return tuple(map(str, self.coordinates["neuroid_id"].tolist()))

    def to_frame(self) -> pd.DataFrame:
        """One row a neuroid (and time bin): its coordinates, both reliabilities, variances, interval, counts."""
        import pandas as pd

        n_bins = self.rho.shape[1] if self.rho.ndim == 2 else 1
        columns: dict[str, np.ndarray] = {key: np.repeat(each, n_bins) for key, each in self.coordinates.items()}
        for key, each in (self.time_bins or {}).items():
            columns[key] = np.tile(each, len(self.rho))
        columns["rho"] = self.rho.reshape(-1)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                columns[field.name] = value.reshape(-1)
        columns["n_repetitions"] = np.round(columns["n_repetitions"], 9)  # a harmonic mean of sixes is 6
        whole = {key: columns[key].astype(np.int64) for key in ("n_stimuli", "n_single")}
        return pd.DataFrame(columns | whole)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw each neuroid with its interval, sorted; with time bins the median and quartiles in time."""
        from netphys.neural.quality.drawing import draw_in_time, draw_sorted

        return draw_sorted(self, ax) if self.time_bins is None else draw_in_time(self, ax)

    def __str__(self) -> str:
        n, told = len(self.rho), ""
        what = f"{n} neuroid{'s' * (n != 1)}"
        if not np.isfinite(self.rho).any():
            return f"{what}: none has a reliability"
        values = [self.rho, self.low, self.high]
        if self.time_bins is not None:
            known = np.isfinite(self.rho).any(axis=0)
            best = int(np.argmax(np.where(known, np.nanmedian(np.where(known, self.rho, 0.0), axis=0), -np.inf)))
            told = f", most reliable of {self.rho.shape[1]} time bins {self._bin(best)}"
            values = [each[:, best] for each in values]
        median, low, high = (_short(np.nanmedian(each)) for each in values)
        known = values[0][np.isfinite(values[0])]
        told = f"{what}{told}: median {median} [{low}, {high}]"
        told += f", mean {_short(known.mean())}, least {_short(known.min())}"
        if len(known) < n:
            told += f", {n - len(known)} without a value"
        return f"{told}; {self._shown()}"

    def _bin(self, at: int) -> str:
        """Name a time bin."""
        bins = [each[at] for each in (self.time_bins or {}).values()]
        return f"{bins[0]:g} to {bins[-1]:g} ms" if len(bins) > 1 else f"no. {at}"

    def _shown(self) -> str:
        """Say how often how many stimuli were shown."""
        fewest, most = self.presentations
        times = f"{fewest}" if fewest == most else f"{fewest}-{most}"
        stimuli = sorted({int(each) for each in self.n_stimuli.reshape(-1)})
        many = f"{stimuli[0]}" if len(stimuli) == 1 else f"{stimuli[0]}-{stimuli[-1]}"
        single = int(self.n_single.max())
        left_out = f" ({'up to ' * bool(self.n_single.min() < single)}{single} shown once left out)" if single else ""
        return f"{times} repetitions of {many} stimuli{left_out}"

    def __repr__(self) -> str:
        return f"Reliability({self})"


def reliability(
    assembly: Responses,
    *,
    n_splits: int = 100,
    seed: int = 0,
    method: Literal["split_half", "anova"] = "split_half",
    average: Literal["r", "fisher"] = "r",
    confidence: float = 0.95,
) -> Reliability:
    """Reliability of each neuroid's mean response over the presentations of a stimulus.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid[, time_bin]), or NeuralData
        Every presentation a row. NaN: no presentation for that neuroid; patterns may differ between neuroids.
    n_splits : int
        Random halves to draw; 100 leave an error of the mean far below that of the stimuli.
    seed : int
        Draws them. A neuroid's value does not depend on which others are in the assembly.
    method : {"split_half", "anova"}
        Which estimate is called `rho` and has the interval; both are reported.
    average : {"r", "fisher"}
        What is averaged over splits, before the correction: r, or its Fisher z.
    confidence : float
        Of the interval, in (0, 1).

    Returns
    -------
    Reliability

    Raises
    ------
    NeuralDataError
        If fewer than three stimuli were shown twice, a response is infinite, or rows are averages of presentations.
    OptionError
        If an option has no value of its kind.

    Notes
    -----
    Split halves: the presentations of each stimulus are split into random halves of equal size, of an odd number one
    is left out in each split; r is Pearson's over stimuli of the two half means, averaged over splits. Then
    ``rho = k r / (1 + (k - 1) r)``, once: the correction is concave with a pole, so that a mean of corrected values
    would be biased (definitions: neural data, 1.6). k = R / h, where a half has h of R presentations, 2 of an even R.
    Where R differs between stimuli, the noise variance of half means is on average MSE / H(h), that of the means
    MSE / H(R), H the harmonic mean over stimuli; so r = s2 / (s2 + MSE / H(h)), and the reliability of the means is
    the formula with k = H(R) / H(h). Stimuli shown once have no halves and are left out of everything here.

    Analysis of variance: :func:`netphys.neural.quality.variance_components.variance_components`. Both ask how reliable
    the plain mean over presentations is; the order of presentations is not used, so that a drift counts as noise.

    The interval is over stimuli: it says what other stimuli of the same kind would have given. It is
    ``1 - (1 - rho) exp(+-t s)``, with s the jackknife standard error over stimuli of ``log(1 - rho)`` of the analysis
    of variance and t Student's with n - 1 degrees of freedom; for normal data it is close to the F interval of an
    intraclass correlation (Shrout & Fleiss 1979). Measured coverage of 95 %: 94 to 96 for normal responses, 20 to 200
    stimuli, any numbers of repetitions; 90 for Poisson counts whose rates are distributed exponentially over 60
    stimuli: where few stimuli drive a neuroid, no sample of stimuli tells how rare they are.

    References
    ----------
    Shrout & Fleiss (1979), Psychological Bulletin 86:420, doi:10.1037/0033-2909.86.2.420.
    Efron & Stein (1981), The Annals of Statistics 9:586, doi:10.1214/aos/1176345462 (the jackknife's variance).

    Examples
    --------
    >>> from netphys.neural import simulate_cortex
    >>> features = np.random.default_rng(0).normal(size=(200, 5))
    >>> cortex = simulate_cortex(features, [str(row) for row in range(200)], region="IT", n_subjects=1, n_neuroids=20)
    >>> cortex.attrs["reliability"], round(float(reliability(cortex).rho.mean()), 1)
    (0.8, 0.8)
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    require_trials(assembly, "reliability")
    _check(n_splits, method, average, confidence)
    ids, codes = first_presentations(assembly["stimulus_id"].values.tolist())
    over = ("neuroid", "time_bin") if "time_bin" in assembly.dims else ("neuroid",)
    by_row = assembly.transpose("presentation", *over).values
    shape = by_row.shape[1:]
    columns = by_row.reshape(len(codes), -1)
    keys = generator(seed, "reliability", "order").random(len(codes))
    found = np.full((10, columns.shape[1]), np.nan)
    fewest, most, shown = len(codes) + 1, 0, 0
    for part, blocks in _alike(columns, codes, keys):
        counts = blocks.counts
        found[8:, part] = [[len(counts)], [blocks.n_single]]
        shown = max(shown, len(counts))
        if len(counts) < _LEAST:
            continue
        fewest, most = min(fewest, int(counts.min())), max(most, int(counts.max()))
        for chunk in _chunks(part, len(codes)):
            found[:8, chunk] = _measured(columns[:, chunk], blocks, n_splits, seed, average)
    if most == 0:
        raise NeuralDataError(
            f"{shown} of {len(ids)} stimuli were shown twice or more; reliability needs {_LEAST} at least, each "
            "presentation a row of the assembly (not averages)"
        )
    r, corrected, rho, signal, noise, error, error_halves, *counted = found.reshape(10, *shape)
    n_repetitions, n_stimuli, n_single = counted
    chosen = (corrected, error_halves) if method == "split_half" else (rho, error)
    low, high = interval_of(*chosen, n_stimuli, confidence)
    return Reliability(
        split_half=r,
        spearman_brown=corrected,
        anova=rho,
        signal_variance=signal,
        noise_variance=noise,
        low=low,
        high=high,
        n_repetitions=n_repetitions,
        n_stimuli=n_stimuli,
        n_single=n_single,
        presentations=(fewest, most),
        method=method,
        confidence=confidence,
        coordinates=_flat(assembly, "neuroid"),
        time_bins=_bins(assembly) if len(over) == 2 else None,
    )


def _check(n_splits: int, method: str, average: str, confidence: float) -> None:
    """Refuse options that are none."""
    if isinstance(n_splits, bool) or not isinstance(n_splits, int | np.integer) or n_splits < 1:
        raise OptionError(f"n_splits={n_splits!r}: it must be a whole number, 1 or more (100 do)")
    for name, value, known in (("method", method, tuple(_NAMES)), ("average", average, ("r", "fisher"))):
        if value not in known:
            raise OptionError(f"{name}={value!r}: it must be {' or '.join(map(repr, known))}{near(str(value), known)}")
    if not 0 < confidence < 1:
        raise OptionError(f"confidence={confidence!r}: it must be between 0 and 1, as 0.95")


def _alike(columns: np.ndarray, codes: np.ndarray, keys: np.ndarray) -> Iterator[tuple[np.ndarray, Blocks]]:
    """Yield the columns that lack the same presentations, and where those that are there are."""
    n = columns.shape[1]
    everything = np.ones(len(codes), dtype=bool)
    if columns.dtype.kind != "f" or np.isfinite(columns.sum()):  # one sum finds out whether anything is missing
        yield np.arange(n), shuffled_blocks(codes, everything, keys)
        return
    missing = np.isnan(columns)
    if np.isinf(columns).any():
        raise NeuralDataError("the assembly holds infinity; a response that is missing is NaN")
    packed = np.packbits(missing, axis=0)
    patterns, which = np.unique(packed, axis=1, return_inverse=True)
    which = which.reshape(-1)
    for pattern in range(patterns.shape[1]):
        part = np.flatnonzero(which == pattern)
        yield part, shuffled_blocks(codes, ~missing[:, part[0]], keys)


def _chunks(part: np.ndarray, n_presentations: int) -> Iterator[np.ndarray | slice]:
    """Cut columns into parts that fit the memory one may take; a slice where they are neighbours, to copy less."""
    step = max(1, _CHUNK // n_presentations)
    for start in range(0, len(part), step):
        chunk = part[start : start + step]
        neighbours = chunk[-1] - chunk[0] == len(chunk) - 1
        yield slice(int(chunk[0]), int(chunk[-1]) + 1) if neighbours else chunk


def _measured(
    values_of: np.ndarray, blocks: Blocks, n_splits: int, seed: int, average: Literal["r", "fisher"]
) -> np.ndarray:
    """Measure columns that lack the same presentations; rows: r, corrected, rho, s2, MSE, two errors, H."""
    values = [values_of[each].astype(np.float64, copy=False) for each in blocks.places]
    n = sum(each.shape[0] * each.shape[1] for each in values)
    mean = sum(each.sum(axis=(0, 1)) for each in values) / n
    for each in values:
        each -= mean  # sums of squares about 0 lose digits by the mean
    parts = variance_components(values, blocks.counts)
    r = half_correlation(values, n_splits=n_splits, seed=seed, average=average)
    corrected = spearman_brown(r, blocks.length)
    found = np.array([r, corrected, parts.rho, parts.signal, parts.noise, parts.log_error, parts.log_error_halves])
    squares = sum(np.einsum("srp,srp->p", each, each) for each in values) / n
    found[:, squares <= _CONSTANT * mean**2] = np.nan
    return np.vstack([found, np.full(len(mean), parts.n_repetitions)])


def _flat(assembly: xr.DataArray, dim: str) -> dict[str, np.ndarray]:
    """Coordinates along one dim, the id first."""
    own = {str(key): each.values for key, each in assembly.coords.items() if each.dims == (dim,) and key != dim}
    return {"neuroid_id": own["neuroid_id"]} | own


def _bins(assembly: xr.DataArray) -> dict[str, np.ndarray]:
    """Start and end of the time bins, or their numbers where the assembly does not say."""
    names = [name for name in ("time_bin_start", "time_bin_end") if name in assembly.coords]
    if not names:
        return {"time_bin": np.arange(assembly.sizes["time_bin"])}
    return {name: assembly[name].values for name in names}


def _short(value: float) -> str:
    """Write a reliability as papers do: .730, -.012."""
    return f"{value:.3f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.3f}"
