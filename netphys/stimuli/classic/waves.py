"""Periodic patterns over the screen and over time: what gratings, Gabors and checkerboards are made of."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from netphys.errors import OptionError
from netphys.stimuli.classic.factorial import Columns, column
from netphys.stimuli.classic.limits import numbers
from netphys.stimuli.classic.screen import Screen

__all__ = ["exact_cos", "frame_times", "headings", "plane_wave", "square"]

_TURN = 2 * math.pi


def frame_times(n_frames: int | None, frame_rate: float) -> Tensor:
    """Return the times of frames, seconds, float64 (1, frame, 1, 1): frame k is at ``k / frame_rate``."""
    return (torch.arange(n_frames or 1, dtype=torch.float64) / frame_rate).reshape(1, -1, 1, 1)


def headings(orientation: Any, direction: Any, *, what: str) -> dict[str, list[float]]:
    """Return the one of orientation and direction that is given, degrees: the other follows from it.

    Raises
    ------
    OptionError
        If `what` is given both, or a value is out of range.
    """
    if direction is None:
        given = 0.0 if orientation is None else orientation
        return {"orientation": numbers("orientation", given, low=0, high=180, rule="[)")}
    if orientation is not None:
        raise OptionError(f"a {what} has an orientation or a direction; both are given")
    return {"direction": numbers("direction", direction, low=0, high=360, rule="[)")}


def square(phase: Tensor, pixel: Tensor) -> Tensor:
    """Return a square wave, +1 where the cosine of the phase is positive, its edges one pixel wide (antialiased).

    Parameters
    ----------
    phase : Tensor
        Cycles.
    pixel : Tensor
        Cycles a pixel, across the edges.
    """
    to_edge = 0.25 - ((phase + 0.5) % 1 - 0.5).abs()  # cycles from the nearest edge, positive where it is light
    return torch.where(pixel > 0, (2 * to_edge / pixel.clamp(min=1e-12)).clamp(-1, 1), to_edge.sign())


def plane_wave(columns: Columns, screen: Screen, times: Tensor, *, turned: Tensor | float = 0.0) -> Tensor:
    """Return gratings of rows, float64 (stimulus, frame, y, x) in [-1, 1].

    Parameters
    ----------
    columns : dict of list
        ``orientation`` or ``direction``, ``spatial_frequency``, ``phase``, ``waveform``, ``temporal_frequency``,
        ``motion``, ``x``, ``y``.
    screen : Screen
        Where they are shown.
    times : Tensor (1, frame, 1, 1)
        Seconds.
    turned : Tensor or float
        Degrees by which the direction is turned, counter-clockwise.

    Notes
    -----
    ``cos(2 pi (f u - g t + p))`` with u the distance from (x, y) along the direction. A cosine of a sum is taken apart
    into what depends on x and what depends on y: as few cosines as the screen has rows and columns.
    """
    toward = torch.deg2rad(column(columns, "direction") + turned)
    frequency = column(columns, "spatial_frequency")
    across, up = screen.grid()
    moving = column(columns, "temporal_frequency") * times
    drift = torch.tensor([each == "drift" for each in columns["motion"]]).reshape(-1, 1, 1, 1)
    start = column(columns, "phase") - torch.where(drift, moving, 0.0)
    on_x = frequency * exact_cos(toward) * (across - column(columns, "x")) + start
    on_y = frequency * exact_cos(toward - math.pi / 2) * (up - column(columns, "y"))
    wave = _cosine(on_x, on_y)
    squares = [row for row, kind in enumerate(columns["waveform"]) if kind == "square"]
    if squares:
        wave[squares] = square(on_x[squares] + on_y[squares], frequency[squares] / screen.pixels_per_unit)
    return wave * torch.where(drift, 1.0, torch.cos(_TURN * moving))


def exact_cos(angle: Tensor) -> Tensor:
    """Return the cosine, 0 where it should be 0 (cos(pi/2) is 6e-17): rows of a level grating are then equal."""
    found = torch.cos(angle)
    return torch.where(found.abs() < 1e-15, 0.0, found)


def _cosine(on_x: Tensor, on_y: Tensor) -> Tensor:
    """Return the cosine of a sum of phases (cycles), of which one depends on x and the other on y."""
    wave = torch.cos(_TURN * on_x) * torch.cos(_TURN * on_y)
    return wave.sub_(torch.sin(_TURN * on_x) * torch.sin(_TURN * on_y))
