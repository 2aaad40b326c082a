"""Random-dot stereograms: a figure in depth that neither eye's picture shows.

Each eye's picture is one and the same thing whatever the disparities are: dots strewn by a Poisson process of the
stated density. Dots are strewn over the cyclopean surface and drawn for each eye where the surface puts them; those
that an eye does not see are left out, what only one eye sees is filled with fresh dots, and where a slope draws dots
together or apart, dots are left out or added until their density is the same everywhere. Thinned, shifted and joined
Poisson processes are Poisson processes, so no statistic of one picture tells the figure.

References
----------
Julesz B. (1971). Foundations of cyclopean perception. University of Chicago Press.
Cumming B.G., Parker A.J. (1997). Responses of primary visual cortical neurons to binocular disparity without depth
perception. Nature 389, 280-283. doi:10.1038/38487 (anticorrelated dots)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.provenance import code_digest
from netphys.seeds import generator
from netphys.stimuli.classic.dots import Strewn, check_dots, draw_dots
from netphys.stimuli.classic.factorial import crossed, on_screen, table_of
from netphys.stimuli.classic.limits import counted, numbers, seed_of, whole, words
from netphys.stimuli.classic.releases import releases
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.surfaces import LEFT, RIGHT, Surface
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["stereograms"]

Shape = Literal["square", "disc", "field", "surface"]
Relief = Callable[[np.ndarray, np.ndarray], np.ndarray]

_SHAPES = ("square", "disc", "field", "surface")
_MOST = 10_000_000  # stimuli of a set
_DOT_PIXELS = 3.0  # side of a dot where none is said: wide enough to be seen after a network's first stride
_WAVES = 6  # of a random surface; each has at most two periods across the screen
_CODE = ("dots", "screen", "stereogram", "surfaces")
_TAGS = {
    "shape": "",
    "disparity": "d",
    "correlation": "c",
    "size": "px",
    "degrees": "deg",
    "seed": "s",
    "index": "i",
}


class _Eye(NamedTuple):
    """Dots in one eye's picture: places (units), 1 light or -1 dark, and the order in which they are laid."""

    x: np.ndarray
    y: np.ndarray
    sign: np.ndarray
    order: np.ndarray


@dataclass(frozen=True)
class _Layout:
    """All that stereograms have in common."""

    shape: Shape | Relief
    figure_size: float  # units
    position: tuple[float, float]
    density: float
    dot_size: float
    correlation: float
    contrast: float


def stereograms(
    n: int = 1,
    *,
    disparity: float | Sequence[float] = 4.0,
    shape: Shape | Relief = "square",
    figure_size: float | None = None,
    position: tuple[float, float] = (0.0, 0.0),
    density: float = 0.5,
    dot_size: float | None = None,
    correlation: float = 1.0,
    contrast: float = 1.0,
    size: int = 128,
    degrees: float | None = None,
    seed: int = 0,
) -> StimulusSet:
    """Make `n` random-dot stereograms of every disparity: fields ``left``, ``right`` and what is true of them.

    Parameters
    ----------
    n : int
        How many of each disparity, each with dots of its own; number i is the same whatever n, and whatever other
        disparities there are.
    disparity : float or sequence of float
        Of the figure, in units (degrees where `degrees` is given, else pixels; fractions of a pixel are exact): a point
        at x in `left` is at x - d in `right`; above 0 is crossed, near. The ground has 0. Tables of disparity tuning
        often write near as negative: then d here is -d there.
    shape : {"square", "disc", "field", "surface"} or callable
        The figure; ``"field"``: the whole screen; ``"surface"``: a smooth random surface over the whole screen, another
        one each stimulus, whose largest depth, near or far, is `disparity`; or a function of x and y (arrays, units,
        y up) that returns what the disparity is multiplied with at that place.
    figure_size : float, optional
        Side or diameter of the figure, units. Default: half the screen.
    position : (float, float)
        Centre of the figure, x to the right and y up, units.
    density : float
        Area of all dots over the area of the screen, overlaps counted twice, in (0, 4].
    dot_size : float, optional
        Side of a dot, units. Default: 3 pixels.
    correlation : float
        In [-1, 1]. Its size is the share of dots that both eyes have; below 0 a light dot is dark for the other eye.
    contrast : float
        (Lmax - Lmin) / (Lmax + Lmin), about mean grey 0.5, in (0, 1].
    size, degrees
        See :class:`~netphys.stimuli.classic.screen.Screen`.
    seed : int
        Dots hang on the seed, the disparity in pixels and the number.

    Returns
    -------
    StimulusSet
        Fields ``left``, ``right`` (stimulus, 3, y, x) float32 in [0, 1]; ``disparity`` (stimulus, y, x) on the
        cyclopean screen; ``disparity_left``, ``disparity_right`` in each eye's own picture, NaN where the other eye
        does not see the place. In units. One column a parameter, and ``index``, the number.

    Raises
    ------
    OptionError
        If an option is outside what it means, or a disparity is there twice.

    Examples
    --------
    >>> pairs = stereograms(disparity=[-4, 4], size=64)
    >>> pairs.get([0, 1], "left").shape, pairs.metadata["disparity"].tolist()
    (torch.Size([2, 3, 64, 64]), [-4.0, 4.0])
    """
    screen, seed = Screen(size, degrees), seed_of(seed)
    values = numbers("disparity", disparity)
    layout = _Layout(
        shape,
        screen.extent / 2 if figure_size is None else float(figure_size),
        _pair(position),
        float(density),
        _DOT_PIXELS / screen.pixels_per_unit if dot_size is None else float(dot_size),
        float(correlation),
        float(contrast),
    )
    n = whole("n", n, 1, _MOST)
    _check(screen, layout, values)
    figure = shape if isinstance(shape, str) else "function"
    columns = crossed({"disparity": values, "index": range(n)})
    shared = {**asdict(layout), "shape": figure, "x": layout.position[0], "y": layout.position[1], "seed": seed}
    del shared["position"]
    columns |= {name: [value] * len(columns["index"]) for name, value in shared.items()}
    table = table_of("stereogram", on_screen(columns, screen), _TAGS, {"correlation": 1.0})
    return StimulusSet(_source(screen, layout, values, n, seed), table, name="classic:stereograms")


def _pair(position: Sequence[float]) -> tuple[float, float]:
    """Two coordinates, or refuse what they are."""
    pair = numbers("position", position)
    if len(pair) != 2:
        raise OptionError(f"position={position}: two numbers, x to the right and y up")
    return pair[0], pair[1]


def _check(screen: Screen, layout: _Layout, values: list[float]) -> None:
    """Refuse what is no stereogram."""
    check_dots(screen, density=layout.density, dot_size=layout.dot_size, contrast=layout.contrast)
    if not all(abs(each) < screen.extent for each in values):
        raise OptionError(
            f"a disparity is smaller than the screen, {counted(screen.extent, screen.unit)}; not {values}"
        )
    if not -1 <= layout.correlation <= 1:
        raise OptionError(f"correlation={layout.correlation}: between -1 (light is dark for the other eye) and 1")
    if not layout.figure_size > 0:
        raise OptionError(f"figure_size={layout.figure_size}: above 0 {screen.unit}s")
    if not callable(layout.shape):
        words("shape", layout.shape, _SHAPES)


def _source(screen: Screen, layout: _Layout, values: list[float], n: int, seed: int) -> Strewn:
    def eye(which: int) -> Callable[[int, float], Tensor]:
        return lambda index, disparity: _picture(screen, layout, _dots(screen, layout, disparity, seed, index)[which])

    def depth(which: float | None) -> Callable[[int, float], Tensor]:
        def read(index: int, disparity: float) -> Tensor:
            x, y = np.broadcast_arrays(*(axis.numpy() for axis in screen.grid()))
            found = _surface(screen, layout, disparity, seed, index)
            values = found(x, y).ravel() if which is None else found.paired(x.ravel(), y.ravel(), which)
            return torch.from_numpy(values.reshape(x.shape).astype(np.float32) + 0.0)  # -0.0 is 0.0

        return read

    readers = {"left": eye(0), "right": eye(1), "disparity": depth(None)}
    readers |= {"disparity_left": depth(LEFT), "disparity_right": depth(RIGHT)}
    recipe = asdict(layout) | {"made": "stereograms", "screen": asdict(screen), "seed": seed}
    if not isinstance(layout.shape, str):
        recipe["shape"] = _relief_on(screen, layout.shape)
    recipe["generator"] = releases("numpy")
    recipe["code"] = code_digest(*(f"stimuli/classic/{file}" for file in _CODE))
    return Strewn(readers, values, n, recipe)


def _dots(screen: Screen, layout: _Layout, disparity: float, seed: int, index: int) -> tuple[_Eye, _Eye]:
    """The dots of one stimulus in both eyes' pictures."""
    surface = _surface(screen, layout, disparity, seed, index)
    return _strewn(screen, layout, surface, _generator(screen, disparity, seed, index))


def _generator(screen: Screen, disparity: float, seed: int, index: int, *part: str) -> np.random.Generator:
    """The generator of one stimulus: the same in degrees and in pixels."""
    return generator(seed, "stereogram", f"{disparity * screen.pixels_per_unit:.9g}", index, *part)


def _picture(screen: Screen, layout: _Layout, dots: _Eye) -> Tensor:
    """Draw one eye's picture, (3, y, x)."""
    turn = np.argsort(dots.order)
    x, y, sign = (each[turn] for each in dots[:3])
    drawn = draw_dots(screen, x, y, sign, dot_size=layout.dot_size, contrast=layout.contrast)
    return torch.from_numpy(drawn).expand(3, -1, -1)


def _surface(screen: Screen, layout: _Layout, disparity: float, seed: int, index: int) -> Surface:
    """The surface of one stimulus."""
    pixel = 1 / screen.pixels_per_unit
    relief = _relief(screen, layout, _generator(screen, disparity, seed, index, "surface"))
    if layout.shape in ("square", "disc", "field"):
        lowest, highest = 0.0, 1.0
    else:
        shown = _relief_on(screen, relief)
        lowest, highest = float(shown.min()), float(shown.max())
    low, high = sorted((disparity * lowest, disparity * highest))
    return Surface(lambda x, y: disparity * relief(x, y), low, high, pixel)


def _relief_on(screen: Screen, relief: Relief) -> np.ndarray:
    """What a function says at the pixels' centres; or refuse it."""
    x, y = np.broadcast_arrays(*(axis.numpy() for axis in screen.grid()))
    values = np.asarray(relief(x, y), dtype=np.float64)
    if values.shape != x.shape or not np.isfinite(values).all():
        raise OptionError(f"shape is a function of arrays x, y {x.shape} that returns as many finite numbers")
    return values


def _relief(screen: Screen, layout: _Layout, rng: np.random.Generator) -> Relief:
    """What the disparity is multiplied with, everywhere."""
    centre_x, centre_y = layout.position
    half = layout.figure_size / 2
    if not isinstance(layout.shape, str):
        return layout.shape
    if layout.shape == "square":
        return lambda x, y: ((np.abs(x - centre_x) < half) & (np.abs(y - centre_y) < half)).astype(np.float64)
    if layout.shape == "disc":
        return lambda x, y: (np.hypot(x - centre_x, y - centre_y) < half).astype(np.float64)
    if layout.shape == "field":
        return lambda x, y: np.ones(np.broadcast_shapes(np.shape(x), np.shape(y)))
    waves = rng.uniform(-2, 2, (_WAVES, 2)) * 2 * np.pi / screen.extent
    phases = rng.uniform(0, 2 * np.pi, _WAVES)

    def waving(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return sum(np.cos(a * x + b * y + phase) for (a, b), phase in zip(waves, phases))

    largest = np.abs(_relief_on(screen, waving)).max()
    return lambda x, y: waving(x, y) / largest


def _strewn(screen: Screen, layout: _Layout, surface: Surface, rng: np.random.Generator) -> tuple[_Eye, _Eye]:
    """Strew dots over a surface and draw them for both eyes, each eye's picture a Poisson process of one density."""
    beyond = layout.dot_size / 2 + 2 / screen.pixels_per_unit
    reach = beyond + max(abs(surface.low), abs(surface.high)) / 2  # a dot beyond the screen may be drawn on it
    rate = layout.density / layout.dot_size**2
    common = _poisson(rng, rate * abs(layout.correlation), screen.extent / 2 + reach, screen.extent / 2 + beyond)
    depth = surface(common.x, common.y)
    eyes = []
    for eye in (LEFT, RIGHT):
        x = common.x + eye * depth / 2
        visible = np.abs(surface.seen(x, common.y, eye) - depth) < 1e-5 / screen.pixels_per_unit  # False where NaN
        kept = visible & (rng.uniform(size=len(x)) < surface.stretch(common.x, common.y, eye))
        inverted = eye == RIGHT and layout.correlation < 0
        sign = -common.sign if inverted else common.sign
        fresh = _poisson(rng, rate, screen.extent / 2 + beyond, screen.extent / 2 + beyond)
        wanted = rng.uniform(size=len(fresh.x)) >= abs(layout.correlation) * _filled(surface, fresh, eye)
        eyes.append(
            _Eye(
                *(
                    np.concatenate([of_both[kept], own[wanted]])
                    for of_both, own in (
                        (x, fresh.x),
                        (common.y, fresh.y),
                        (sign, fresh.sign),
                        (common.order, fresh.order),
                    )
                )
            )
        )
    return eyes[0], eyes[1]


def _filled(surface: Surface, dots: _Eye, eye: float) -> np.ndarray:
    """Density of what both eyes have, at places in an eye's picture, over the density wanted: 0 to 1."""
    seen = surface.seen(dots.x, dots.y, eye)
    paired = np.isfinite(seen)
    stretch = surface.stretch(dots.x - eye * np.where(paired, seen, 0) / 2, dots.y, eye)
    return np.where(paired, 1 / np.maximum(stretch, 1), 0)


def _poisson(rng: np.random.Generator, rate: float, half_x: float, half_y: float) -> _Eye:
    """Strew dots over a rectangle about the middle, so many a unit of area on average."""
    count = rng.poisson(rate * 4 * half_x * half_y)
    x, y = rng.uniform(-half_x, half_x, count), rng.uniform(-half_y, half_y, count)
    return _Eye(x, y, rng.choice([-1.0, 1.0], count), rng.uniform(size=count))
