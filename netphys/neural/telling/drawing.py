"""How neural data are drawn, each panel on one Axes: how often, how strong, when, how alike, how reliable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.colours import COLOURS
from netphys.neural.assemblies import first_presentations
from netphys.neural.files.dissimilarities import n_stimuli_of
from netphys.neural.operations.averaging import average_repetitions

if TYPE_CHECKING:
    import xarray as xr
    from jaxtyping import Float
    from matplotlib.axes import Axes

    from netphys.neural.data import NeuralData
    from netphys.neural.quality.reliability import Reliability

__all__ = ["agreement", "choice_shares", "new_axes", "panels"]

_GREY = "#595959"
_NEVER = "#D9D9D9"  # what was not measured, or never offered
_CHOICES, _STIMULI, _LETTERS = 24, 12, 16  # names that fit beside a map, and letters of one
_LIMIT = 2.5  # standard deviations at which the colours of responses end: 1 % of a normal distribution is beyond


def agreement(data: NeuralData) -> Float[np.ndarray, " subject"]:
    """Spearman correlation of each subject's RDM with the mean RDM of the others (ranks averaged); NaN of one alone."""
    from scipy.stats import rankdata, spearmanr

    assert data.dissimilarities is not None
    values = data.dissimilarities
    if len(values) < 2:
        return np.full(len(values), np.nan)
    ranks = rankdata(values, axis=1)
    others = (ranks.sum(axis=0) - ranks) / (len(ranks) - 1)
    return np.array([float(spearmanr(own, rest).statistic) for own, rest in zip(values, others)])


def panels(data: NeuralData, reliable: Reliability | None) -> list[tuple[str, Callable[[Any], Any]]]:
    """Panels that suit the data, in the order of reading."""
    if data.assembly is None:
        found = [("Mean RDM", lambda ax: _rdm(data, ax)), ("Dissimilarities", lambda ax: _histogram(data, ax))]
        if len(data.subjects) > 1:
            found.append(("Subjects", lambda ax: _subjects(data, ax)))
        return found
    assembly = data.assembly
    if data.kind == "behaviour":
        return [("Choices", lambda ax: _choices(assembly, ax)), *_shown(assembly)]
    found = [
        ("Responses", lambda ax: _responses(assembly, ax)),
        *(_shown(assembly) or [("Neuroids", lambda ax: _means(assembly, ax))]),
    ]
    if "time_bin" in assembly.dims and "time_bin_start" in assembly.coords:
        found.insert(0, ("Time course", lambda ax: _time_course(assembly, ax)))
    if reliable is not None:
        found.append(("Reliability", reliable.plot))
    return found


def _shown(assembly: xr.DataArray) -> list[tuple[str, Callable[[Any], Any]]]:
    """A panel of how often stimuli were shown, where that differs; a number that is the same for all is no figure."""
    _, codes = first_presentations(assembly["stimulus_id"].values)
    differ = len(np.unique(np.bincount(codes))) > 1
    return [("Presentations", lambda ax: _repeats(assembly, ax))] if differ else []


def new_axes() -> Axes:
    """Make an Axes of its own, without pyplot."""
    from matplotlib.figure import Figure

    return Figure(layout="constrained").add_subplot()


def _rdm(data: NeuralData, ax: Axes) -> Axes:
    """Draw the mean RDM in ranks, stimuli in the data's order."""
    from scipy.stats import rankdata

    assert data.dissimilarities is not None
    mean = rankdata(data.dissimilarities, axis=1).mean(axis=0)
    n = n_stimuli_of(len(mean)) or 0
    square = np.full((n, n), np.nan)
    upper = np.triu_indices(n, 1)
    square[upper] = 100 * (rankdata(mean) - 0.5) / len(mean)
    square = np.fmax(square, square.T)
    image = ax.imshow(square, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, shrink=0.8).set_label("dissimilarity (percentile)")
    ax.set(xlabel="stimulus", ylabel="stimulus", xticks=[0, n - 1], yticks=[0, n - 1])
    ax.set_xticklabels(["1", str(n)])
    ax.set_yticklabels(["1", str(n)])
    if n <= _STIMULI:
        _named(ax, "x", data.stimulus_ids)
        _named(ax, "y", data.stimulus_ids)
    return ax


def _histogram(data: NeuralData, ax: Axes) -> Axes:
    """Draw how dissimilarities are distributed, one line a subject, the mean of all thick."""
    assert data.dissimilarities is not None
    values = data.dissimilarities
    edges = np.linspace(values.min(), values.max(), 41)
    for row in values[:20]:
        counts, _ = np.histogram(row, edges, density=True)
        ax.stairs(counts, edges, color=_GREY, alpha=0.35 if len(values) > 1 else 1.0, linewidth=0.7)
    if len(values) > 1:
        counts, _ = np.histogram(values, edges, density=True)
        ax.stairs(counts, edges, color=COLOURS[0], linewidth=1.3, label="all")
        ax.plot([], [], color=_GREY, alpha=0.5, linewidth=0.7, label="one subject")
        ax.legend(frameon=False, fontsize="small")
    return _bare(ax, "dissimilarity (as in the file)", "density")


def _subjects(data: NeuralData, ax: Axes) -> Axes:
    """Draw how each subject agrees with the others, beside what noise alone gives."""
    each = agreement(data)
    assert data.dissimilarities is not None
    ax.plot(np.arange(len(each)) + 1, each, "o", color=COLOURS[0], markersize=4)
    ax.axhline(float(each.mean()), color=_GREY, linewidth=0.8, linestyle="--")
    ax.axhline(0.0, color="black", linewidth=0.5)
    if len(each) <= 6:
        ax.set_xticks(np.arange(len(each)) + 1, data.subjects, rotation=30, ha="right")
    ax.set_xlim(0.4, len(each) + 0.6)
    return _bare(ax, "subject", "with the mean of the others\n(Spearman)")


def _responses(assembly: xr.DataArray, ax: Axes) -> Axes:
    """Draw mean responses, each neuroid in its own standard deviations."""
    from matplotlib.ticker import MaxNLocator

    flat = assembly.mean("time_bin") if "time_bin" in assembly.dims else assembly
    _, means = average_repetitions(flat)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = (means - np.nanmean(means, axis=0)) / np.nanstd(means, axis=0)
    image = ax.imshow(
        scaled.T, cmap="RdBu_r", vmin=-_LIMIT, vmax=_LIMIT, aspect="auto", interpolation="nearest", rasterized=True
    )
    ax.set_facecolor(_NEVER)
    bar = ax.figure.colorbar(image, ax=ax, extend="both")
    bar.set_label("response (sd of the neuroid)")
    ids, _ = first_presentations(assembly["stimulus_id"].values)
    if len(ids) <= _STIMULI:
        _named(ax, "x", ids)
    ax.set(xlabel="stimulus", ylabel="neuroid")
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


def _repeats(assembly: xr.DataArray, ax: Axes) -> Axes:
    """Draw how often stimuli were shown."""
    from matplotlib.ticker import MaxNLocator

    ids, codes = first_presentations(assembly["stimulus_id"].values)
    repeats = np.bincount(codes, minlength=len(ids))
    times, stimuli = np.unique(repeats, return_counts=True)
    ax.bar(times, stimuli, width=0.8, color=COLOURS[0])
    ax.set_xlim(times[0] - 1.2, times[-1] + 1.2)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _bare(ax, "presentations of a stimulus", "stimuli")


def _means(assembly: xr.DataArray, ax: Axes) -> Axes:
    """Draw how strongly neuroids respond on average."""
    rest = [dim for dim in assembly.dims if dim != "neuroid"]
    ax.hist(assembly.mean(rest).values, bins="auto", color=COLOURS[0])
    return _bare(ax, f"mean response ({assembly.attrs.get('unit', 'as in the file')})", "neuroids")


def _time_course(assembly: xr.DataArray, ax: Axes) -> Axes:
    """Draw the mean over presentations and neuroids in time.

    The band is its standard error over neuroids, each less its own mean over time (Cousineau 2005, Tutor Quant Methods
    Psychol 1:42; Morey 2008, 4:61): how far neuroids differ in rate says nothing of the course.
    """
    each = assembly.mean("presentation").transpose("neuroid", "time_bin").values
    n, bins = each.shape
    mean = np.nanmean(each, axis=0)
    starts, ends = assembly["time_bin_start"].values, assembly["time_bin_end"].values
    centres = (starts + ends) / 2
    if n > 1 and bins > 1:
        own = each - np.nanmean(each, axis=1, keepdims=True)
        error = np.nanstd(own, axis=0, ddof=1) / np.sqrt(n) * np.sqrt(bins / (bins - 1))
        said = "± s.e. over neuroids\n(each less its own mean)"
        ax.fill_between(centres, mean - error, mean + error, color=COLOURS[0], alpha=0.25, linewidth=0, label=said)
    ax.plot(centres, mean, color=COLOURS[0], linewidth=1.3, label="mean")
    ax.legend(frameon=False, fontsize="small")
    ax.axvline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
    return _bare(ax, "time from onset (ms)", f"response ({assembly.attrs.get('unit', 'as in the file')})")


def _choices(assembly: xr.DataArray, ax: Axes) -> Axes:
    """Draw the share of each choice, of the trials in which it was offered, stimuli by their likeliest choice."""
    names, shares = choice_shares(assembly)
    shown = np.nan_to_num(shares, nan=-1.0)
    order = np.argsort(shown.argmax(axis=1), kind="stable")
    top = max(float(shown.max()), 1e-12)
    image = ax.imshow(
        shares[order], aspect="auto", cmap="viridis", vmin=0, vmax=top, interpolation="nearest", rasterized=True
    )
    ax.set_facecolor(_NEVER)  # never offered
    ax.figure.colorbar(image, ax=ax).set_label(
        "share of trials"
        + ", of those that offered it" * bool(np.isnan(assembly.values).any())
        + "\n(grey: never)" * bool(np.isnan(shares).any())
    )
    choices = [str(each) for each in assembly["choice"].values]
    _named(ax, "x", choices)
    _named(ax, "y", [names[at] for at in order])
    ax.set(xlabel="choice", ylabel="stimulus, by its likeliest choice")
    return ax


def choice_shares(assembly: xr.DataArray) -> tuple[tuple[str, ...], Float[np.ndarray, "stimulus choice"]]:
    """Share of each choice over the trials of a stimulus that offered it; NaN: none did, or it was not measured.

    Parameters
    ----------
    assembly : xarray.DataArray (presentation, choice)
        NaN where a choice was not offered.
    """
    ids, codes = first_presentations(assembly["stimulus_id"].values)
    values = assembly.transpose("presentation", "choice").values.astype(np.float64)
    offered = np.isfinite(values)
    sums, trials = np.zeros((2, len(ids), values.shape[1]))
    np.add.at(sums, codes, np.where(offered, values, 0.0))
    np.add.at(trials, codes, offered)
    with np.errstate(invalid="ignore"):
        return ids, np.where(trials > 0, sums / np.maximum(trials, 1), np.nan)


def _named(ax: Axes, side: str, names: Sequence[str]) -> None:
    """Write names along one side where they fit: of choices up to 24, of stimuli up to 12."""
    if len(names) > (_CHOICES if side == "x" else _STIMULI):
        return
    short = [each if len(each) <= _LETTERS else f"{each[: _LETTERS - 1]}…" for each in names]
    size = None if len(names) <= 8 else 6.0
    if side == "x":
        turned = len(names) > 6 or max(map(len, short)) > 5
        ax.set_xticks(np.arange(len(names)), short, rotation=90 if turned else 0, fontsize=size)
    else:
        ax.set_yticks(np.arange(len(names)), short, fontsize=size)


def _bare(ax: Axes, xlabel: str, ylabel: str) -> Axes:
    """Label the axes, take the frame away."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    return ax
