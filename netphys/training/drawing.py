"""How a learning curve is drawn, on one Axes; no global style is read or set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from netphys.colours import COLOURS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

__all__ = ["plot_curve"]

_GREY = "#595959"
_SMALL = 7.0  # points
_DASHES = {"untrained": (0, (6, 2)), "chance": (0, (4, 2, 1, 2)), "prior": (0, (2, 2))}
_LEAST_GAP = 0.055  # of the height of the Axes, between two words


def plot_curve(curve: pd.DataFrame, references: Mapping[str, float], ax: Axes | None = None) -> Axes:
    """Draw a learning curve.

    Parameters
    ----------
    curve : pandas.DataFrame
        ``step, loss, held_out``; see :class:`netphys.training.TrainingResult`.
    references : mapping
        Losses of those who learned nothing, drawn as dashed lines and named at their right end. An oracle, far below
        where a training ends, is not drawn.
    ax : matplotlib Axes, optional
        Where; a new figure by default.

    Returns
    -------
    matplotlib Axes
    """
    if ax is None:
        from matplotlib.figure import Figure

        ax = Figure(figsize=(4.0, 2.8), layout="constrained").subplots()
    references = {name: value for name, value in references.items() if name != "oracle"}
    losses = curve.dropna(subset=["loss"]) if "loss" in curve else curve.iloc[:0]
    if len(losses):
        smooth = losses["loss"].rolling(max(1, len(losses) // 50), center=True, min_periods=1).mean()
        ax.plot(losses["step"], losses["loss"], color=COLOURS[0], alpha=0.25, linewidth=0.5)
        ax.plot(losses["step"], smooth, color=COLOURS[0], linewidth=1.1, label="training batches")
    held = curve.dropna(subset=["held_out"])
    ax.plot(
        held["step"],
        held["held_out"],
        color=COLOURS[5],
        marker="o",
        markersize=3,
        linewidth=1.1,
        label="held out",
        clip_on=False,
    )
    last = float(curve["step"].max())
    ax.set_xlim(0, last)
    _limits(ax, losses["loss"].to_numpy() if len(losses) else np.array([]), held["held_out"].to_numpy(), references)
    _name_references(ax, references)
    ax.set(xlabel="Step", ylabel="Loss")
    ax.legend(frameon=False, fontsize=_SMALL, loc="lower left", borderpad=0.2)  # a loss falls: nothing is drawn there
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    return ax


def _limits(ax: Axes, losses: np.ndarray, held_out: np.ndarray, references: Mapping[str, float]) -> None:
    """Show every reference and all losses but the few highest of the first steps, which would flatten the rest."""
    drawn = np.concatenate([losses[losses <= np.quantile(losses, 0.99)] if len(losses) else losses, held_out[1:]])
    drawn = np.concatenate([drawn, [value for name, value in references.items() if name != "untrained"]])
    if not len(drawn):
        return
    low, high = float(drawn.min()), float(drawn.max())
    untrained = references.get("untrained", high)
    if untrained <= high + 2 * (high - low):  # else it is said in words that it is above
        high = max(high, untrained)
    margin = 0.06 * (high - low) or 0.5
    ax.set_ylim(low - 4 * margin, high + margin)  # below is room for the legend


def _name_references(ax: Axes, references: Mapping[str, float]) -> None:
    """Draw the references, each named to the right of its line; words that would touch move apart."""
    low, high = ax.get_ylim()
    shown = {name: value for name, value in references.items() if np.isfinite(value)}
    placed = -np.inf
    for name, value in sorted(shown.items(), key=lambda each: each[1]):
        above = value > high
        if not above:
            ax.axhline(value, color=_GREY, linewidth=0.8, linestyle=_DASHES.get(name, "--"), zorder=0)
        at = max((min(value, high) - low) / (high - low), placed + _LEAST_GAP)
        placed = at
        said = name.replace("_", " ")
        word = f"{said} ({value:.3g}, above)" if above else said
        ax.text(1.015, at, word, color=_GREY, fontsize=_SMALL, va="center", transform=ax.transAxes)
