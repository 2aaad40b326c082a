"""Sets of classic stimuli from their parameters: every combination, ids, metadata, and the source that draws them.

A stimulus is a row of parameters. Its id and its digest depend on that row alone, never on what else is in the set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.provenance import code_digest
from netphys.stimuli.classic.limits import numbers, whole
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.stimulus_set import StimulusSet

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "COLOURS",
    "Columns",
    "Drawn",
    "Numbers",
    "Recipe",
    "Words",
    "colour_names",
    "column",
    "crossed",
    "on_screen",
    "table_of",
]

Numbers = float | Sequence[float]
Words = str | Sequence[str]
Columns = dict[str, list[Any]]

COLOURS = {
    "achromatic": (1.0, 1.0, 1.0),
    "red-green": (1.0, -1.0, 0.0),
    "blue-yellow": (-1.0, -1.0, 1.0),
    "red": (1.0, 0.0, 0.0),
    "green": (0.0, 1.0, 0.0),
    "blue": (0.0, 0.0, 1.0),
}
_OF_ALL = ("size", "degrees", "unit", "n_frames", "frame_rate")  # columns that a grey field has, too
_MOST = 10_000_000  # stimuli of a set; their table alone takes gigabytes
_AT_ONCE = 1 << 22  # values drawn at once in float64: 32 MB, whatever is asked for


def crossed(factors: Mapping[str, Sequence[Any]], *, paired: bool = False) -> Columns:
    """Combine the values of parameters into rows.

    Parameters
    ----------
    factors : mapping
        Parameter → its values.
    paired : bool
        Take the values side by side, one value standing for all; not every combination, the last parameter fastest.

    Returns
    -------
    dict of list
        Parameter → its value in each row.

    Raises
    ------
    OptionError
        If a value occurs twice, paired parameters differ in number, or there are more than 10 million rows.

    Examples
    --------
    >>> crossed({"orientation": [0, 90], "contrast": [0.5, 1]})
    {'orientation': [0, 0, 90, 90], 'contrast': [0.5, 1, 0.5, 1]}
    >>> crossed({"orientation": [0, 90], "contrast": [0.5, 1]}, paired=True)
    {'orientation': [0, 90], 'contrast': [0.5, 1]}
    """
    if paired:
        n = max(len(values) for values in factors.values())
        odd = next((name for name, values in factors.items() if len(values) not in (1, n)), None)
        if odd is not None:
            raise OptionError(
                f"paired parameters have one value or equally many; {odd} has {len(factors[odd])}, not {n}"
            )
        return {name: list(values) if len(values) == n else list(values) * n for name, values in factors.items()}
    for name, values in factors.items():
        if len(set(values)) < len(values):
            twice = next(each for each in values if list(values).count(each) > 1)
            raise OptionError(f"{name} says {twice} twice")
    if (n := math.prod(len(values) for values in factors.values())) > _MOST:
        raise OptionError(f"{n} combinations of parameters; a set holds at most {_MOST}")
    rows = itertools.product(*factors.values())
    return {name: list(values) for name, values in zip(factors, zip(*rows), strict=True)}


def on_screen(columns: Columns, screen: Screen) -> Columns:
    """Add the screen to columns: ``size`` (pixels a side), ``degrees`` and ``unit``, what lengths are in."""
    n = len(next(iter(columns.values())))
    return {**columns, "size": [screen.size] * n, "degrees": [screen.degrees] * n, "unit": [screen.unit] * n}


def table_of(kind: str, columns: Columns, tags: Mapping[str, str], usual: Mapping[str, Any]) -> pd.DataFrame:
    """Return the metadata of rows: ids and the parameters.

    Parameters
    ----------
    kind, tags, usual
        See :class:`Recipe`.
    columns : dict of list
        Parameter → its value in each row.
    """
    import pandas as pd

    rows = ({key: values[row] for key, values in columns.items()} for row in range(len(columns["size"])))
    ids = [_named(kind, row, tags, usual) for row in rows]
    return pd.DataFrame({"stimulus_id": ids, **{key: _numeric(values) for key, values in columns.items()}})


def column(columns: Columns, name: str) -> Tensor:
    """Return a column as float64 (stimulus, 1, 1, 1), for frames and pixels to follow."""
    return torch.tensor(columns[name], dtype=torch.float64).reshape(-1, 1, 1, 1)


def colour_names(value: Any) -> list[str]:
    """Return colours as words: one of :data:`COLOURS`, or the weights of red, green and blue as ``"1_-0.5_0"``.

    Raises
    ------
    OptionError
        If a colour is unknown, or a weight not within [-1, 1].

    Examples
    --------
    >>> colour_names((1, -0.5, 0)), colour_names(["red-green", "achromatic"])
    (['1_-0.5_0'], ['red-green', 'achromatic'])
    """
    several = not isinstance(value, str) and not (len(value) == 3 and not isinstance(value[0], str | Sequence))
    return [_colour_name(each) for each in (value if several else [value])]


@dataclass(frozen=True)
class Recipe:
    """How stimuli of a kind are drawn.

    Parameters
    ----------
    kind : str
        What ids begin with: ``"grating"``.
    screen : Screen
        Where they are shown.
    draw : callable
        Columns of some rows → modulation about grey, float64 (stimulus, frame, y, x) in [-1, 1], contrast included.
    code : sequence of str
        Modules of this room on which the pixels depend.
    tags : mapping
        Parameter → what stands for it in an id.
    usual : mapping
        Values that an id need not say: the defaults.
    n_frames : int, optional
        Frames of a clip; None: still images.
    versions : mapping
        Versions of libraries that decide what is drawn.
    """

    kind: str
    screen: Screen
    draw: Callable[[Columns], Tensor]
    code: Sequence[str]
    tags: Mapping[str, str]
    usual: Mapping[str, Any]
    n_frames: int | None = None
    versions: Mapping[str, str] | None = None

    def stimuli(self, columns: Columns, *, name: str, blank: bool = False) -> StimulusSet:
        """Return the set of rows; `blank` adds a grey field, contrast 0 and no other parameter."""
        columns = on_screen(columns, self.screen)
        if blank:
            n = len(columns["size"])
            columns = {key: [*values, self._of_blank(key, values)] for key, values in columns.items()}
            columns["blank"] = [*[False] * n, True]
        table = table_of(self.kind, columns, self.tags, self.usual)
        return StimulusSet(Drawn(self, columns), table, name=name)

    def _of_blank(self, key: str, values: Sequence[Any]) -> Any:
        """Return what a grey field has in a column: the screen, the frames, contrast 0."""
        return 0.0 if key == "contrast" else values[0] if key in _OF_ALL else None


class Drawn:
    """Stimuli drawn from their parameters when they are read: field ``image``, or ``clip`` where there are frames.

    Parameters
    ----------
    recipe : Recipe
        How they are drawn.
    columns : dict of list
        Parameter → its value for each stimulus; ``colour`` and ``blank`` mean the same for all kinds.
    """

    def __init__(self, recipe: Recipe, columns: Columns) -> None:
        self._recipe, self._columns = recipe, columns
        self._code = code_digest(*(f"stimuli/classic/{each}" for each in (*recipe.code, "factorial", "screen")))
        self.fields = ("image",) if recipe.n_frames is None else ("clip",)

    def read(self, field: str, indices: np.ndarray) -> Tensor:
        size, frames = self._recipe.screen.size, self._recipe.n_frames or 1
        shown = torch.full((len(indices), frames, 3, size, size), 0.5)
        seen = np.array([place for place, row in enumerate(indices) if not self._value("blank", row)], dtype=np.int64)
        step = max(1, _AT_ONCE // (frames * size * size))
        for start in range(0, len(seen), step):
            places = seen[start : start + step]
            rows = {name: [values[row] for row in indices[places]] for name, values in self._columns.items()}
            self._paint(shown, places, rows)
        return shown[:, 0] if self._recipe.n_frames is None else shown

    def digests(self, indices: np.ndarray) -> list[Any]:
        made = {"kind": self._recipe.kind, "code": self._code, "versions": dict(self._recipe.versions or {})}
        return [[made, {name: values[row] for name, values in self._columns.items()}] for row in indices]

    def _value(self, name: str, row: int) -> Any:
        return self._columns[name][row] if name in self._columns else None

    def _paint(self, shown: Tensor, places: np.ndarray, rows: Columns) -> None:
        """Put rows onto grey, each along its axis of colour."""
        modulation = self._recipe.draw(rows)
        weights = torch.tensor([_weights(each) for each in rows["colour"]], dtype=torch.float64)
        where = torch.from_numpy(places)
        for gun in range(3):
            if gun and torch.equal(weights[:, gun], weights[:, 0]):
                shown[where, :, gun] = shown[where, :, 0]
                continue
            weighted = modulation * (0.5 * weights[:, gun]).reshape(-1, 1, 1, 1)
            shown[where, :, gun] = (0.5 + weighted).clamp_(0, 1).to(torch.float32)  # rounding leaves it by 1e-16


def frames_of(n_frames: int | None, frame_rate: float) -> tuple[int | None, float]:
    """Check frames and frames a second (None: a still image)."""
    rate = numbers("frame_rate", frame_rate, low=0, rule="(]")
    return (None if n_frames is None else whole("n_frames", n_frames, 1, 100_000)), rate[0]


def _named(kind: str, row: Mapping[str, Any], tags: Mapping[str, str], usual: Mapping[str, Any]) -> str:
    """Name a row by what is not usual about it."""
    said = ["blank"] if row.get("blank") else []
    for key, tag in tags.items():
        value = row.get(key)
        plain = value in (None, "none") or (key in usual and value == usual[key])
        if not plain and not (row.get("blank") and key == "contrast"):
            said.append(tag + (value if isinstance(value, str) else f"{value:.12g}"))
    return "-".join([kind, *said])


def _numeric(values: list[Any]) -> Any:
    """Return a column for a table: None among numbers, or alone, is NaN."""
    gaps = None in values and not any(isinstance(each, str) for each in values)
    return np.array(values, dtype=np.float64) if gaps else values


def _colour_name(value: Any) -> str:
    """Return a colour as one word, once it is known to be one."""
    if isinstance(value, str):
        if value not in COLOURS and len(value.split("_")) != 3:
            known = ", ".join(COLOURS)
            raise OptionError(f"no colour {value!r}; there are {known}, or weights of red, green, blue as '1_-0.5_0'")
        if value in COLOURS:
            return value
        try:
            value = [float(each) for each in value.split("_")]
        except ValueError:
            raise OptionError(f"colour {value!r}: weights of red, green, blue are numbers, as '1_-0.5_0'") from None
    weights = numbers("colour", value, low=-1, high=1)
    if len(weights) != 3 or not any(weights):
        raise OptionError(f"colour={tuple(weights)}: weights of red, green and blue, in [-1, 1], not all 0")
    return "_".join(f"{each:.12g}" for each in weights)


def _weights(colour: str) -> tuple[float, ...]:
    """Return the weights of red, green and blue."""
    return COLOURS[colour] if colour in COLOURS else tuple(float(each) for each in colour.split("_"))
