"""How RDMs and scores over layers are drawn, each on one Axes; no global style is read or set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from netphys.colours import colours_of
from netphys.errors import MatchError, OptionError
from netphys.inference import above_zero
from netphys.rsa.comparison import MEASURE_NAMES, midranks
from netphys.rsa.pairs import RDMSet, pair_index

if TYPE_CHECKING:
    from jaxtyping import Float
    from matplotlib.axes import Axes

    from netphys.rsa.ceilings import NoiseCeiling

__all__ = ["agreement_label", "plot_profile", "plot_rdm"]

_GREY = "#595959"
_CEILING = "#D9D9D9"
_SMALL, _LARGE = 5.0, 8.0  # points: the least that journals print, and what is enough
_SETTLED = 0.7  # of the Axes' side is left to an RDM when a layout engine has made room for what stands around it


class Profile(Protocol):
    """What is drawn of a result: :class:`netphys.rsa.RSAResult` is one."""

    @property
    def layers(self) -> tuple[str, ...]: ...

    @property
    def networks(self) -> tuple[str, ...]: ...

    @property
    def scores(self) -> np.ndarray: ...

    @property
    def ci_low(self) -> np.ndarray: ...

    @property
    def ci_high(self) -> np.ndarray: ...

    @property
    def p(self) -> np.ndarray: ...

    @property
    def ceiling(self) -> NoiseCeiling: ...

    @property
    def method(self) -> str: ...


def plot_rdm(
    rdm: Any,
    ax: Axes | None = None,
    *,
    order: Sequence[object] | None = None,
    groups: Sequence[object] | Mapping[str, object] | None = None,
    names: bool = True,
    scale: bool = True,
) -> Axes:
    """Draw one RDM, rank-transformed: each dissimilarity as its percentile among the pairs.

    Parameters
    ----------
    rdm : rsatoolbox.rdm.RDMs or NeuralData with one RDM, or array (pair,) or (stimulus, stimulus)
        What to draw. Pairs without a dissimilarity are grey.
    ax : matplotlib Axes, optional
        Where; a new figure by default.
    order : sequence, optional
        Stimuli in the order to draw them: row numbers, or stimulus ids.
    groups : sequence or mapping, optional
        The category of each stimulus, in the RDM's order or by stimulus id. Stimuli are drawn sorted by category
        (categories in order of first appearance) with thin lines between them and their names at the side.
    names, scale : bool
        Whether to write the categories' names and to draw the colour scale; a figure of several RDMs needs them once.

    Returns
    -------
    matplotlib Axes

    References
    ----------
    Kriegeskorte et al. (2008), Neuron 60:1126, doi:10.1016/j.neuron.2008.10.043.
    """
    one, label = _one(rdm)
    rows = _ordered(order, one)
    kinds = _group_names(groups, one)
    if kinds is not None:
        first_seen = list(dict.fromkeys(kinds[row] for row in rows))
        rows = np.array(sorted(rows, key=lambda row: first_seen.index(kinds[row])))
    ax = _axes(ax)
    square = _percentiles(one.values[0], one.n_stimuli)[np.ix_(rows, rows)]
    ax.set_facecolor(_CEILING)
    image = ax.imshow(square, cmap="viridis", vmin=0, vmax=100, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set_linewidth(0.5)
    if kinds is not None:
        _mark_groups(ax, [kinds[row] for row in rows], named=names)
    elif names:
        ax.set_xlabel(f"{one.n_stimuli} stimuli", fontsize=_LARGE, labelpad=2)
    if label:
        ax.set_title(label, fontsize=_LARGE)
    if scale:
        _colour_scale(ax, image)
    return ax


def plot_profile(result: Profile, ax: Axes | None = None) -> Axes:
    """Draw scores over layers, with 95 % intervals and the noise ceiling.

    One line a network; the band (or bar, where a network has one model) is the interval. Filled markers: above 0 at a
    false discovery rate of 5 % over all that is drawn. The grey band is the noise ceiling; where the data allow none
    the figure says so.
    """
    ax = _axes(ax)
    networks = list(dict.fromkeys(result.networks))
    found = above_zero(result.p)
    colours = colours_of(networks)
    alone = len(networks) == len(result.layers) and len(networks) > 1  # models side by side, not layers in order
    names = result.networks if alone else tuple(dict.fromkeys(result.layers))
    for network in networks:
        rows = np.array([row for row, each in enumerate(result.networks) if each == network])
        x = rows if alone else np.array([names.index(result.layers[row]) for row in rows])
        _draw_scores(ax, x, result, rows, found[rows], colours[network], network)
    _draw_ceiling(ax, result)
    ax.axhline(0, color=_GREY, linewidth=0.5, zorder=1)
    _name_layers(ax, names)
    ax.set_ylabel(agreement_label(result.method), fontsize=_LARGE)
    ax.tick_params(axis="y", labelsize=_LARGE - 1)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    if len(networks) > 1 and not alone:
        ax.legend(fontsize=_LARGE - 1, frameon=False, loc="best")
    return ax


def agreement_label(method: str) -> str:
    """Name the axis of scores by a comparison of RDMs.

    Examples
    --------
    >>> agreement_label("corr")
    "Agreement of RDMs (Pearson's r)"
    """
    return f"Agreement of RDMs ({MEASURE_NAMES[method]})"


def _axes(ax: Axes | None) -> Axes:
    """Take the given Axes, else those of a new figure: two results in a row must not be drawn over each other."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(4.5, 3.2), layout="constrained").subplots()


def _one(rdm: Any) -> tuple[RDMSet, str]:
    """Read exactly one RDM, and what it is called."""
    one = RDMSet.of(rdm, "the RDM")
    if len(one.values) != 1:
        raise OptionError(f"plot_rdm draws one RDM, got {len(one.values)}; select one: rdms[0]")
    found = (str(one.descriptors[key][0]) for key in ("layer", "name", "subject") if key in one.descriptors)
    return one, next(found, "")


def _ordered(order: Sequence[object] | None, rdm: RDMSet) -> np.ndarray:
    """Turn an order of ids or row numbers into row numbers."""
    n = rdm.n_stimuli
    if order is None:
        return np.arange(n)
    if rdm.stimulus_ids is not None and not all(isinstance(each, int | np.integer) for each in order):
        rows = {each: row for row, each in enumerate(rdm.stimulus_ids)}
        unknown = [str(each) for each in order if str(each) not in rows]
        if unknown:
            raise MatchError(f"order: {unknown[0]!r} is not a stimulus of the RDM")
        return np.array([rows[str(each)] for each in order])
    chosen = np.asarray(order)
    if chosen.dtype.kind not in "iu" or len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= n:
        raise OptionError(f"order must be stimulus ids or row numbers from 0 to {n - 1}")
    return chosen


def _group_names(groups: Sequence[object] | Mapping[str, object] | None, rdm: RDMSet) -> list[str] | None:
    """Name the category of each stimulus."""
    if groups is None:
        return None
    if isinstance(groups, Mapping):
        ids = rdm.stimulus_ids
        if ids is None or any(each not in groups for each in ids):
            raise MatchError("groups by stimulus id need an RDM with ids, and a group for each of them")
        return [str(groups[each]) for each in ids]
    if len(groups) != rdm.n_stimuli:
        raise MatchError(f"groups: {len(groups)} names for {rdm.n_stimuli} stimuli")
    return [str(each) for each in groups]


def _percentiles(values: np.ndarray, n: int) -> Float[np.ndarray, "stimulus stimulus"]:
    """Make the square of percentiles: 0 for the most similar pair and on the diagonal, 100 for the least similar."""
    there = ~np.isnan(values)
    ranks = np.full(len(values), np.nan)
    ranks[there] = 100 * (midranks(values[there]) - 1) / max(1, there.sum() - 1)
    square = np.zeros((n, n))
    first, second = pair_index(n)
    square[first, second] = square[second, first] = ranks
    return square


def _mark_groups(ax: Axes, names: list[str], *, named: bool) -> None:
    """Draw lines between categories, and their names at the left, apart from each other."""
    starts = [0] + [row for row in range(1, len(names)) if names[row] != names[row - 1]]
    ends = [*starts[1:], len(names)]
    for start in starts[1:]:
        for line in (ax.axhline, ax.axvline):
            line(start - 0.5, color="white", linewidth=0.6)
    if not named:
        return
    extent = ax.get_window_extent()
    points = _SETTLED * min(extent.width, extent.height) * 72 / ax.figure.dpi
    size = float(np.clip(points / len(starts) / 1.1, _SMALL, _LARGE))
    spacing = size * 1.1 * len(names) / points  # of label centres, in stimuli
    centres = [(start + end - 1) / 2 for start, end in zip(starts, ends)]
    for centre, at, start in zip(centres, _apart(centres, spacing, len(names)), starts):
        ax.annotate(
            names[start],
            xy=(-0.5, centre),
            xytext=(-0.06 * len(names) - 0.5, at),
            fontsize=size,
            ha="right",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "linewidth": 0.4,
                "color": _GREY,
                "relpos": (1, 0.5),
                "shrinkA": 1,
                "shrinkB": 0,
            },
        )


def _apart(centres: list[float], spacing: float, n: int) -> np.ndarray:
    """Move labels apart so that neighbours do not overlap, as little as needed."""
    at = np.array(centres)
    for k in range(1, len(at)):
        at[k] = max(at[k], at[k - 1] + spacing)
    at -= max(0.0, at[-1] - max(n - 1.0, centres[-1]))
    for k in range(len(at) - 2, -1, -1):
        at[k] = min(at[k], at[k + 1] - spacing)
    return at


def _colour_scale(ax: Axes, image: Any) -> None:
    """Draw the scale at the right, as tall as the RDM."""
    scale = ax.inset_axes((1.04, 0.0, 0.04, 1.0))
    bar = ax.figure.colorbar(image, cax=scale, ticks=[0, 50, 100])
    bar.outline.set_linewidth(0.5)
    bar.set_label("dissimilarity (percentile)", fontsize=_LARGE - 1, labelpad=3)
    scale.tick_params(labelsize=_LARGE - 1, length=2, width=0.5, pad=1.5)


def _draw_scores(
    ax: Axes, x: np.ndarray, result: Profile, rows: np.ndarray, found: np.ndarray, colour: str, label: str
) -> None:
    """Draw one line of scores (or separate points), their intervals, and what is above 0."""
    scores, low, high = result.scores[rows], result.ci_low[rows], result.ci_high[rows]
    points = len(rows) == 1
    if np.isfinite(low).any():
        if points:
            ax.vlines(x, low, high, color=colour, linewidth=1, zorder=2)
        else:
            ax.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    ax.plot(x, scores, color=colour, linewidth=0 if points else 1.2, zorder=3, label=label)
    faces = [colour if each else "white" for each in found]
    ax.scatter(x, scores, s=14, c=faces, edgecolors=colour, linewidths=0.9, zorder=4)


def _draw_ceiling(ax: Axes, result: Profile) -> None:
    """Draw the noise ceiling, or say that there is none."""
    ceiling = result.ceiling
    if not np.isfinite(ceiling.lower):
        reason = ceiling.rule.removeprefix("none: ")
        ax.set_title(f"no noise ceiling: {reason}", fontsize=_LARGE - 1, color=_GREY, loc="right", pad=3)
        return
    ax.axhspan(ceiling.lower, ceiling.upper, color=_CEILING, linewidth=0, zorder=0)
    where = ax.get_yaxis_transform()  # x in parts of the axis, y in scores
    ax.text(
        0.99, ceiling.upper, "noise ceiling", ha="right", va="bottom", fontsize=_LARGE - 1, color=_GREY, transform=where
    )


def _name_layers(ax: Axes, names: Sequence[str]) -> None:
    """Write layer names below, as many as fit."""
    width = ax.get_window_extent().width * 72 / ax.figure.dpi / max(1, len(names))  # points a layer
    every = max(1, int(np.ceil(_SMALL * 1.15 / width)))
    size = float(np.clip(every * width / 1.15, _SMALL, _LARGE - 1))
    ticks = range(0, len(names), every)
    level = width > 0.62 * size * max(len(each) for each in names)  # 0.62: width of a letter over its size
    ax.set_xticks(ticks, [names[tick] for tick in ticks], fontsize=size, rotation=0 if level else 90)
    ax.set_xlim(-0.5, len(names) - 0.5)
