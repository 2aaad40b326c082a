"""What a model can reach at best with unreliable neuroids, scores corrected for it, and neuroids too noisy to score.

Two ceilings that must not be confused (definitions: neural data, 1.7): the reliability rho of the mean response bounds
the explained variance, r^2; its root bounds the correlation, r. Every function here is told which one a score is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from netphys.errors import NeuralDataError, OptionError, near
from netphys.neural.assemblies import assembly_of, require_assembly
from netphys.neural.quality.reliability import Reliability, reliability

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float

    from netphys.neural.assemblies import Responses

__all__ = ["ceiling", "drop_unreliable", "noise_corrected"]

Score = Literal["r2", "r"]
_LOG = logging.getLogger(__name__)


def ceiling(data: Responses | Reliability, *, of: Score) -> Float[np.ndarray, " neuroid"]:
    """Best score that a model can expect on the mean responses of each neuroid.

    Parameters
    ----------
    data : xarray.DataArray (presentation, neuroid), or Reliability
        Responses, presentation by presentation, or what :func:`netphys.neural.reliability` measured of them.
    of : {"r2", "r"}
        Which score: explained variance, bounded by rho; or correlation, bounded by its root.

    Returns
    -------
    float64 (neuroid,)
        As estimated, so that one may exceed 1 or be negative; NaN for the root of a negative rho.

    Examples
    --------
    >>> from netphys.neural import simulate_cortex
    >>> features = np.random.default_rng(0).normal(size=(400, 5))
    >>> cortex = simulate_cortex(features, [str(row) for row in range(400)], region="IT", n_subjects=1, noise=4.0)
    >>> cortex.attrs["reliability"], [round(float(ceiling(cortex, of=each).mean()), 1) for each in ("r2", "r")]
    (0.5, [0.5, 0.7])
    """
    _check_score(of)
    rho = (data if isinstance(data, Reliability) else reliability(data)).rho
    return rho.copy() if of == "r2" else _root(rho)


def noise_corrected(
    score: Float[np.ndarray, "... neuroid"] | float,
    rho: Float[np.ndarray, " neuroid"] | float | Reliability,
    *,
    of: Score,
    at_least: float = 0.1,
) -> Float[np.ndarray, "... neuroid"]:
    """Divide scores of neuroids by what their reliability allows.

    Parameters
    ----------
    score : float (..., neuroid)
        Explained variance, or correlation, with the mean response.
    rho : float (neuroid,), or Reliability
        Reliability of the mean response over the stimuli that the score is of.
    of : {"r2", "r"}
        Which score it is: r2 / rho, or r / sqrt(rho).
    at_least : float
        Neuroids of a lower rho have no corrected score (NaN): the quotient of two noises is no score. They are chosen
        by data; leave them out beforehand by other stimuli, :func:`drop_unreliable`.

    Returns
    -------
    float64 (..., neuroid)
        A perfect model has 1 on average; a single neuroid may exceed it.

    Raises
    ------
    OptionError
        If `of` is no score, or `at_least` is not above 0.

    Notes
    -----
    With the mean y of a signal s of variance s2 and noise of variance v / R, a perfect model's squared correlation is
    on average rho = s2 / (s2 + v / R), its correlation sqrt(rho). ``(r / rho)^2`` divides by rho twice: at rho = .5 a
    perfect model would have 2.

    References
    ----------
    Schoppe, Harper, Willmore, King & Schnupp (2016), Frontiers in Computational Neuroscience 10:10,
    doi:10.3389/fncom.2016.00010.

    Examples
    --------
    >>> noise_corrected(0.25, 0.5, of="r2").item(), round(noise_corrected(0.5, 0.5, of="r").item(), 4)
    (0.5, 0.7071)
    >>> noise_corrected([0.2, 0.2], [0.8, 0.05], of="r2").tolist()
    [0.25, nan]
    """
    _check_score(of)
    if not at_least > 0:
        raise OptionError(f"at_least={at_least!r}: it must be above 0; a score cannot be divided by no reliability")
    of_neuroids = rho.rho if isinstance(rho, Reliability) else rho
    score, rho = np.asarray(score, dtype=np.float64), np.asarray(of_neuroids, dtype=np.float64)
    known = np.where(rho >= at_least, rho, np.nan)
    return score / (known if of == "r2" else np.sqrt(known))


def drop_unreliable(
    assembly: Responses,
    *,
    at_least: float = 0.3,
    of: Sequence[Any] | None = None,
    measured: Reliability | None = None,
    seed: int = 0,
) -> xr.DataArray:
    """Leave out neuroids whose mean response is unreliable, by a rule that may be fixed on other stimuli.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, neuroid)
        Every presentation a row.
    at_least : float
        Neuroids with a reliability below it, or none at all, are left out.
    of : sequence of str or StimulusSet, optional
        The stimuli that the rule looks at, those that a model is fitted to; default all. Neuroids chosen by the very
        stimuli that they are then scored on look more reliable than they are.
    measured : Reliability, optional
        Reliability measured before, of these neuroids in this order; default: measured here.
    seed : int
        Draws the split halves.

    Returns
    -------
    xarray.DataArray (presentation, neuroid)
        The neuroids that are left; attributes ``n_dropped`` and ``reliability_at_least`` say what was done.

    Raises
    ------
    NeuralDataError
        If none is left, a stimulus of `of` is not there, or `measured` is of other neuroids.
    """
    assembly = assembly_of(assembly)
    require_assembly(assembly, what="the assembly")
    if "time_bin" in assembly.dims:
        raise NeuralDataError(
            f"the assembly has {assembly.sizes['time_bin']} time bins and one reliability a neuroid is asked for; "
            "choose a window first, or assembly.mean('time_bin')"
        )
    if measured is not None and of is not None:
        raise OptionError("of= and measured= both say what the rule looks at; give one of them")
    if measured is None:
        measured = reliability(assembly if of is None else _shown(assembly, of), seed=seed)
    elif measured.neuroid_ids != tuple(map(str, assembly["neuroid_id"].values.tolist())) or measured.rho.ndim > 1:
        raise NeuralDataError("measured= is not of the neuroids of the assembly, in its order and without time bins")
    keep = measured.rho >= at_least
    n_dropped = int((~keep).sum())
    if not keep.any():
        raise NeuralDataError(
            f"none of {len(keep)} neuroids has a reliability of {at_least:g} or more (the best has "
            f"{np.nanmax(measured.rho, initial=-np.inf):.3f}); lower at_least="
        )
    _LOG.info("%d of %d neuroids left out: reliability below %g", n_dropped, len(keep), at_least)
    before = int(assembly.attrs.get("n_dropped", 0))
    told = {"n_dropped": before + n_dropped, "reliability_at_least": float(at_least)}
    return assembly.isel(neuroid=keep).assign_attrs(told)


def _check_score(of: str) -> None:
    """Refuse what is no score."""
    if of not in ("r2", "r"):
        raise OptionError(f"of={of!r}: it must be 'r2' (bounded by rho) or 'r' (bounded by its root)")


def _root(rho: np.ndarray) -> np.ndarray:
    """Square root, NaN of what is negative."""
    return np.sqrt(np.where(rho >= 0, rho, np.nan))


def _shown(assembly: xr.DataArray, stimuli: Sequence[Any]) -> xr.DataArray:
    """Presentations of some stimuli."""
    if isinstance(stimuli, str):
        raise OptionError(f"of={stimuli!r}: it is a list of stimulus ids")
    stimuli = list(getattr(stimuli, "ids", stimuli))
    wanted = {str(each) for each in stimuli}
    ids = np.array([str(each) for each in assembly["stimulus_id"].values.tolist()])
    there = set(ids.tolist())
    absent = next((each for each in map(str, stimuli) if each not in there), None)
    if absent is not None:
        raise NeuralDataError(f"the assembly has no stimulus {absent!r}{near(absent, sorted(there))}")
    return assembly.isel(presentation=np.isin(ids, list(wanted)))
