"""Random-dot kinematograms: a motion that no single frame shows.

From frame to frame a share of the dots, the coherence, moves in one direction; the others are put anywhere. Dots that
leave the field come in at the opposite side, so every frame alone is strewn evenly, whatever moves. The field is seen
through an aperture that cuts dots off: as many of a pixel's dots lie across its edge as anywhere, and the contrast is
the same up to it. Were dots drawn whole, or not at all, by where their centre is, it would fall off over a dot's side.

References
----------
Newsome W.T., Pare E.B. (1988). A selective impairment of motion perception following lesions of the middle temporal
visual area. J Neurosci 8, 2201-2211. doi:10.1523/JNEUROSCI.08-06-02201.1988
Britten K.H., Shadlen M.N., Newsome W.T., Movshon J.A. (1992). The analysis of visual motion. J Neurosci 12, 4745-4765.
doi:10.1523/JNEUROSCI.12-12-04745.1992
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.provenance import code_digest
from netphys.seeds import generator
from netphys.stimuli.classic.dots import Strewn, check_dots, draw_dots
from netphys.stimuli.classic.factorial import Columns, crossed, on_screen, table_of
from netphys.stimuli.classic.limits import counted, numbers, seed_of, whole, words
from netphys.stimuli.classic.releases import releases
from netphys.stimuli.classic.screen import Screen
from netphys.stimuli.classic.windows import circle
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["kinematograms"]

Aperture = Literal["circle", "square"]
Signal = Literal["anew", "fixed"]
Polarity = Literal["both", "light", "dark"]

_MOST = 10_000_000  # stimuli of a set
_MOST_FRAMES = 100_000
_DOT_PIXELS = 3.0  # side of a dot where none is said
_CODE = ("dots", "kinematogram", "screen", "windows")
_TAGS = {"direction": "a", "coherence": "c", "size": "px", "degrees": "deg", "seed": "s", "index": "i"}
_WORDS = {"aperture": ("circle", "square"), "signal": ("anew", "fixed"), "polarity": ("both", "light", "dark")}


@dataclass(frozen=True)
class _Motion:
    """All that kinematograms have in common; lengths in units, time in frames."""

    step: float  # units a frame
    n_frames: int
    n_dots: int
    dot_size: float
    lifetime: int | None
    aperture: Aperture
    aperture_size: float
    signal: Signal
    polarity: Polarity
    contrast: float


def kinematograms(
    n: int = 1,
    *,
    coherence: float | Sequence[float] = 1.0,
    direction: float | Sequence[float] = (0.0, 90.0, 180.0, 270.0),
    speed: float | None = None,
    n_frames: int = 16,
    frame_rate: float = 30.0,
    density: float = 0.1,
    dot_size: float | None = None,
    lifetime: int | None = None,
    aperture: Aperture = "circle",
    aperture_size: float | None = None,
    signal: Signal = "anew",
    polarity: Polarity = "both",
    contrast: float = 1.0,
    size: int = 64,
    degrees: float | None = None,
    seed: int = 0,
) -> StimulusSet:
    """Make `n` random-dot kinematograms of every direction and coherence, the coherence fastest but the number.

    Parameters
    ----------
    n : int
        How many of each direction and coherence, each with dots of its own; number i is the same whatever n, and
        whatever other directions and coherences there are.
    coherence : float or sequence of float
        Share of dots, of those that live on, that move in the direction from one frame to the next, in [0, 1]; met
        to the nearest dot in each frame. The others are put anywhere.
    direction : float or sequence of float
        Where signal dots move to, degrees counter-clockwise from the right.
    speed : float, optional
        Units a second. Default: 2 pixels a frame.
    n_frames : int
        Frames of a clip.
    frame_rate : float
        Frames a second.
    density : float
        Area of all dots over the area of the field, in (0, 4].
    dot_size : float, optional
        Side of a dot, units. Default: 3 pixels.
    lifetime : int, optional
        Frames after which a dot is put anywhere; ages are staggered, so that 1 / lifetime of the dots are put anew in
        each frame. Default: no end. With it the share of all dots that moves on is coherence * (1 - 1 / lifetime).
    aperture : {"circle", "square"}
        Where dots are seen, cut off at its edge. They wrap around in the square that holds it: what of a dot is
        beyond one side is drawn at the opposite one.
    aperture_size : float, optional
        Diameter or side, units, larger than a dot. Default: the screen.
    signal : {"anew", "fixed"}
        Which dots are signal: chosen anew in each frame, so that none can be followed for long (Britten et al. 1992);
        or the same dots all the time.
    polarity : {"both", "light", "dark"}
        Of dots on mean grey; both: half of them each.
    contrast : float
        (Lmax - Lmin) / (Lmax + Lmin) of light and dark dots, in (0, 1].
    size, degrees
        See :class:`~netphys.stimuli.classic.screen.Screen`.
    seed : int
        Dots hang on the seed, the direction, the coherence and the number.

    Returns
    -------
    StimulusSet
        Field ``clip`` (stimulus, t, 3, y, x) float32 in [0, 1]; one column a parameter, and ``index``, the number.

    Raises
    ------
    OptionError
        If an option is outside what it means, or a direction or a coherence is there twice.

    Examples
    --------
    >>> moving = kinematograms(coherence=[0.1, 0.5], direction=[0, 180], n_frames=8, size=32)
    >>> moving.get([0], "clip").shape, moving.metadata["coherence"].tolist()
    (torch.Size([1, 8, 3, 32, 32]), [0.1, 0.5, 0.1, 0.5])
    """
    screen, seed = Screen(size, degrees), seed_of(seed)
    dot = _DOT_PIXELS / screen.pixels_per_unit if dot_size is None else float(dot_size)
    field = screen.extent if aperture_size is None else float(aperture_size)
    moved = 2.0 * frame_rate / screen.pixels_per_unit if speed is None else float(speed)
    check_dots(screen, density=density, dot_size=dot, contrast=contrast)
    if not 0 < field <= screen.extent or not 0 < frame_rate < np.inf or not 0 <= moved < np.inf:
        raise OptionError(
            f"aperture_size={field:g}, frame_rate={frame_rate:g}, speed={moved:g}: an aperture is at most the screen, "
            f"{counted(screen.extent, screen.unit)}; rates are above 0, speeds not below"
        )
    if not dot < field:
        raise OptionError(f"dot_size={dot:g}: smaller than the aperture, {counted(field, screen.unit)}")
    motion = _Motion(
        step=moved / frame_rate,
        n_frames=whole("n_frames", n_frames, 1, _MOST_FRAMES),
        n_dots=max(1, round(density * field**2 / dot**2)),
        dot_size=dot,
        lifetime=None if lifetime is None else whole("lifetime", lifetime, 2, _MOST_FRAMES),
        aperture=aperture,
        aperture_size=field,
        signal=signal,
        polarity=polarity,
        contrast=float(contrast),
    )
    _check(motion)
    n = whole("n", n, 1, _MOST)
    factors = {
        "direction": numbers("direction", direction),
        "coherence": numbers("coherence", coherence, low=0, high=1),
    }
    columns = crossed(factors | {"index": range(n)})
    columns |= _shared(motion, moved, float(frame_rate), seed, len(columns["index"]))
    table = table_of("kinematogram", on_screen(columns, screen), _TAGS, {})
    conditions = list(zip(columns["direction"][::n], columns["coherence"][::n], strict=True))
    return StimulusSet(
        _source(screen, motion, float(frame_rate), conditions, n, seed), table, name="classic:kinematograms"
    )


def _check(motion: _Motion) -> None:
    """Refuse what is no kinematogram."""
    for option, known in _WORDS.items():
        words(option, getattr(motion, option), known)
    if motion.step >= motion.aperture_size / 2:
        raise OptionError(
            f"a step of {motion.step:g} a frame is not told from one in the opposite direction: it is half the "
            f"aperture, {motion.aperture_size:g}, or more"
        )


def _shared(motion: _Motion, speed: float, frame_rate: float, seed: int, rows: int) -> Columns:
    """Columns of what all clips have in common."""
    shared = {name: getattr(motion, name) for name in ("n_frames", "n_dots", "dot_size", "lifetime", "aperture")}
    shared |= {name: getattr(motion, name) for name in ("aperture_size", "signal", "polarity", "contrast")}
    shared |= {"speed": speed, "frame_rate": frame_rate, "seed": seed}
    return {name: [value] * rows for name, value in shared.items()}


def _source(
    screen: Screen, motion: _Motion, frame_rate: float, conditions: list[tuple[float, float]], n: int, seed: int
) -> Strewn:
    opening = _opening(screen, motion)

    def clip(index: int, condition: tuple[float, float]) -> Tensor:
        named = [f"{each:.12g}" for each in condition]
        x, y, sign = _tracks(motion, *condition, generator(seed, "kinematogram", *named, index))
        frames = [0.5 + opening * (_frame(screen, motion, *each, sign) - 0.5) for each in zip(x, y)]
        return torch.from_numpy(np.stack(frames))[:, None].expand(-1, 3, -1, -1)

    recipe = asdict(motion) | {"made": "kinematograms", "screen": asdict(screen), "seed": seed}
    recipe |= {"frame_rate": frame_rate, "generator": releases("numpy")}
    recipe["code"] = code_digest(*(f"stimuli/classic/{file}" for file in _CODE))
    return Strewn({"clip": clip}, conditions, n, recipe)


def _opening(screen: Screen, motion: _Motion) -> np.ndarray:
    """Share of each pixel that lies in the aperture, float32 (y, x)."""
    x, y = screen.grid()
    wide = torch.tensor(motion.aperture_size, dtype=torch.float64)
    pixel = 1 / screen.pixels_per_unit
    if motion.aperture == "circle":
        return circle((x**2 + y**2).sqrt(), wide, pixel=pixel).to(torch.float32).numpy()
    return (circle(x.abs(), wide, pixel=pixel) * circle(y.abs(), wide, pixel=pixel)).to(torch.float32).numpy()


def _frame(screen: Screen, motion: _Motion, x: np.ndarray, y: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Draw the dots of a field that wraps around: one that lies across a side also at the opposite one."""
    side, reach = motion.aperture_size, (motion.aperture_size + motion.dot_size) / 2
    moved = [(x + right * side, y + up * side) for right in (-1, 0, 1) for up in (-1, 0, 1)]
    seen = [np.flatnonzero((np.abs(across) < reach) & (np.abs(up) < reach)) for across, up in moved]
    dot = np.concatenate(seen)
    order = np.argsort(dot, kind="stable")  # copies of a dot lie over the same dots as itself
    across, up = (np.concatenate([each[axis][some] for each, some in zip(moved, seen)])[order] for axis in (0, 1))
    return draw_dots(screen, across, up, sign[dot[order]], dot_size=motion.dot_size, contrast=motion.contrast)


def _tracks(
    motion: _Motion, direction: float, coherence: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where each dot is in each frame, x and y (t, dot) in units; and 1 light or -1 dark (dot,)."""
    count, half = motion.n_dots, motion.aperture_size / 2
    places = np.empty((motion.n_frames, 2, count))
    places[0] = rng.uniform(-half, half, (2, count))
    sign = rng.permutation(np.where(np.arange(count) % 2, -1.0, 1.0)) if motion.polarity == "both" else np.ones(count)
    sign = -sign if motion.polarity == "dark" else sign
    age = rng.permutation(count)  # staggered; of every `lifetime` dots one dies in each frame
    rank = rng.permutation(count)
    step = motion.step * np.array([[np.cos(np.deg2rad(direction))], [np.sin(np.deg2rad(direction))]])
    for time in range(1, motion.n_frames):
        dies = np.zeros(count, bool) if motion.lifetime is None else (age + time) % motion.lifetime == 0
        rank = rng.permutation(count) if motion.signal == "anew" else rank
        order = np.argsort(np.where(dies, count, 0) + rank)
        moves = np.zeros(count, bool)
        moves[order[: round(coherence * int((~dies).sum()))]] = True  # those that die are last in the order
        anywhere = rng.uniform(-half, half, (2, count))
        places[time] = np.where(moves, (places[time - 1] + step + half) % (2 * half) - half, anywhere)
    return places[:, 0], places[:, 1], sign
