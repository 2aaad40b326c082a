"""The Gabor function, and its least-squares fit to many patterns at once.

::

    g(x, y) = A exp(-u²/2σx² - v²/2σy²) cos(2π f u + φ) + b,
    u = (x - x0) sin θ + (y - y0) cos θ,    v = (x - x0) cos θ - (y - y0) sin θ

x to the right and y down, pixels, from the middle of the pattern. θ is the orientation of the bars, degrees
counter-clockwise from horizontal as seen, in [0, 180): v runs along the bars and u across them, so σx is the width
across the bars and σy the length along them. φ is the phase at the centre of the envelope; A > 0 and f > 0.

A, φ and b are linear once the other six are given (A cos φ, -A sin φ, b), so they are solved exactly in each step and
Levenberg-Marquardt runs over the six: variable projection. No start needs a phase, and all patterns and starts
advance together.

References
----------
Jones & Palmer (1987), J Neurophysiol 58:1233, doi:10.1152/jn.1987.58.6.1233.
Golub & Pereyra (1973), SIAM J Numer Anal 10:413; Kaufman (1975), BIT 15:49 (variable projection and its Jacobian).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["PARAMETERS", "fit_many", "gabor"]

PARAMETERS = ("x", "y", "orientation", "frequency", "sigma_x", "sigma_y", "phase", "amplitude", "offset")

_WIDTHS = (0.1, 0.25, 0.5)  # of the envelope at the start, in parts of the side
_BLOCK = 256  # problems solved together: their Jacobians stay in the cache for filters of 9 to 11 pixels
_STEPS = 120  # most converge in 15; what has not by then creeps along a valley of equal error
_SETTLED = 1e-8  # relative gain of a step below which a start has arrived
_PAD = 64  # side of the transform in which the peak is sought


def gabor(side: int, parameters: Float[np.ndarray, "filter 9"]) -> Float[np.ndarray, "filter y x"]:
    """Draw Gabor functions.

    Parameters
    ----------
    side : int
        Pixels.
    parameters : array (filter, 9)
        In the order of :data:`PARAMETERS`: centre x, y from the middle (pixels, y down), orientation of the bars
        (degrees), frequency (cycles a pixel), σx across and σy along the bars (pixels), phase (degrees), amplitude,
        offset.

    Examples
    --------
    >>> vertical = gabor(5, np.array([[0, 0, 90, 0.25, 1, 2, 0, 1, 0]]))[0]
    >>> bool(abs(vertical[0, 2] - vertical[4, 2]) < 1e-12 and vertical[2, 2] == 1 and abs(vertical[2, 1]) < 1e-12)
    True
    """
    given = np.atleast_2d(np.asarray(parameters, np.float64))
    x, y, theta, f, sx, sy, phase, amplitude, offset = given.T[:, :, None]
    six = np.stack([x, y, np.deg2rad(theta), f, sx, sy], axis=1)[..., 0]
    even, odd, _, _ = _waves(six, *_pixels((side, side)))
    phase = np.deg2rad(phase)
    values = amplitude * (np.cos(phase) * even - np.sin(phase) * odd) + offset
    return values.reshape(-1, side, side)


def fit_many(patterns: Float[np.ndarray, "filter y x"]) -> tuple[Float[np.ndarray, "filter 9"], np.ndarray]:
    """Fit a Gabor function to each pattern by least squares, within bounds.

    Bounds: 1/k <= f <= 0.5, 0.5 <= σ <= k, the centre inside the pattern (k: its longer side). Twelve starts: frequency
    of the peak of the zero-padded transform (mean removed), its orientation and that at right angles, three widths,
    two centres (the middle, and the pixel that is largest).

    Returns
    -------
    parameters : array (filter, 9)
        In the order of :data:`PARAMETERS`, equivalent ones folded to one.
    r2 : array (filter,)
        1 - SSE/SST, SST about the mean. NaN, like the parameters, where the pattern is constant.
    """
    patterns = np.asarray(patterns, np.float64)
    n, *shape = patterns.shape
    flat = patterns.reshape(n, -1)
    centred = flat - flat.mean(1, keepdims=True)
    scale = np.sqrt((centred**2).sum(1))
    varies = scale > 1e-7 * np.sqrt((flat**2).sum(1))  # float32 weights that are all equal but for rounding do not
    parameters, r2 = np.full((n, 9), np.nan), np.full(n, np.nan)
    if not varies.any():
        return parameters, r2
    unit = centred[varies] / scale[varies, None]  # SST is 1, so that SSE is 1 - R2
    starts = _starts(unit.reshape(-1, *shape))
    per = starts.shape[1]
    problems, data = starts.reshape(-1, 6), np.repeat(unit, per, axis=0)
    solved = [_solve(problems[at : at + _BLOCK], data[at : at + _BLOCK], shape) for at in range(0, len(data), _BLOCK)]
    six, linear, sse = (np.concatenate(each) for each in zip(*solved))
    best = sse.reshape(-1, per).argmin(1) + per * np.arange(len(unit))
    parameters[varies] = _folded(six[best], linear[best] * scale[varies, None])
    parameters[varies, 8] += flat[varies].mean(1)
    r2[varies] = 1 - sse[best]
    return parameters, r2


def peaks(patterns: Float[np.ndarray, "filter y x"]) -> Float[np.ndarray, "filter 2"]:
    """Find where the zero-padded transform of each pattern is largest, mean removed: (fy, fx), cycles a pixel."""
    centred = patterns - patterns.mean((1, 2), keepdims=True)
    side = max(_PAD, *patterns.shape[1:])
    power = np.abs(np.fft.rfft2(centred, (side, side)))
    power[:, 0, 0] = 0
    row, column = np.unravel_index(power.reshape(len(power), -1).argmax(1), power.shape[1:])
    return np.stack([np.fft.fftfreq(side)[row], column / side], axis=1)


def _starts(patterns: np.ndarray) -> np.ndarray:
    """Make the starts (filter, start, 6)."""
    fy, fx = peaks(patterns).T
    frequency, orientation = np.hypot(fx, fy), np.arctan2(fx, fy)
    x, y = _pixels(patterns.shape[1:])
    largest = np.abs(patterns.reshape(len(patterns), -1)).argmax(1)
    low, high = _bounds(patterns.shape[1:])
    starts = []
    for centre in ((0 * fx, 0 * fy), (x[largest], y[largest])):
        for width in _WIDTHS:
            sigma = np.full(len(patterns), width * max(patterns.shape[1:]))
            for turn in (0, np.pi / 2):
                starts.append(np.stack([*centre, orientation + turn, frequency, sigma, sigma], axis=1))
    return np.clip(np.stack(starts, axis=1), low, high)


def _bounds(shape: tuple[int, ...] | list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of x, y, θ, f, σx, σy."""
    side, (half_y, half_x) = max(shape), ((each - 1) / 2 for each in shape)
    low = np.array([-half_x, -half_y, -np.inf, 1 / side, 0.5, 0.5])
    return low, np.array([half_x, half_y, np.inf, 0.5, side, side])


def _pixels(shape: tuple[int, ...] | list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of all pixels from the middle, x to the right and y down."""
    y, x = np.indices(shape)
    return x.ravel() - (shape[1] - 1) / 2, y.ravel() - (shape[0] - 1) / 2


def _waves(six: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Even and odd wave under the envelope, and the coordinates u, v: each (problem, pixel)."""
    x0, y0, theta, f, sx, sy = six.T[:, :, None]
    sin, cos = np.sin(theta), np.cos(theta)
    dx, dy = x - x0, y - y0
    u, v = dx * sin + dy * cos, dx * cos - dy * sin
    envelope = np.exp(-0.5 * ((u / sx) ** 2 + (v / sy) ** 2))
    angle = 2 * np.pi * f * u
    return envelope * np.cos(angle), envelope * np.sin(angle), u, v


def _projected(six: np.ndarray, data: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """Solve the linear three exactly: orthonormal basis, coefficients, residual, sum of squares, u, v."""
    even, odd, u, v = _waves(six, x, y)
    columns = np.stack([even, odd, np.ones_like(even)], axis=2)
    basis, triangle = np.linalg.qr(columns)
    shares = np.matmul(basis.transpose(0, 2, 1), data[..., None])
    residual = data - np.matmul(basis, shares)[..., 0]
    linear = np.linalg.solve(triangle, shares)[..., 0]
    return basis, linear, residual, (residual**2).sum(1), u, v, even, odd


def _jacobian(six: np.ndarray, state: tuple[np.ndarray, ...]) -> np.ndarray:
    """Kaufman's Jacobian of the projected model, (problem, 6, pixel)."""
    basis, linear, _, _, u, v, even, odd = state
    sin, cos = np.sin(six[:, 2, None]), np.cos(six[:, 2, None])
    f, sx, sy = six.T[3:, :, None]
    a, d = linear[:, 0, None], linear[:, 1, None]
    wave, turned = a * even + d * odd, 2 * np.pi * (d * even - a * odd)  # the model, and its slope along the phase
    along_u, along_v = f * turned - wave * u / sx**2, -wave * v / sy**2
    jacobian = np.stack(
        [
            -sin * along_u - cos * along_v,
            -cos * along_u + sin * along_v,
            v * along_u - u * along_v,
            u * turned,
            wave * u**2 / sx**3,
            wave * v**2 / sy**3,
        ],
        axis=1,
    )
    return jacobian - np.matmul(np.matmul(jacobian, basis), basis.transpose(0, 2, 1))


def _solve(six: np.ndarray, data: np.ndarray, shape: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run Levenberg-Marquardt within bounds on all problems; those that have arrived drop out."""
    x, y = _pixels(shape)
    low, high = _bounds(shape)
    six = six.copy()
    state = _projected(six, data, x, y)
    linear, sse = state[1].copy(), state[3].copy()
    damping, live = np.full(len(six), 1e-2), np.arange(len(six))
    for _ in range(_STEPS):
        step = _step(six[live], state, damping[live], low, high)
        tried = _projected(six[live] + step, data[live], x, y)
        gain = sse[live] - tried[3]
        better = gain > 0
        rows = live[better]
        six[rows], linear[rows], sse[rows] = six[rows] + step[better], tried[1][better], tried[3][better]
        damping[live] = np.clip(damping[live] * np.where(better, 0.2, 5.0), 1e-10, 1e10)
        arrived = (better & (gain < _SETTLED * sse[live])) | (damping[live] >= 1e9) | (sse[live] < 1e-14)
        state = tuple(np.where(better.reshape(-1, *[1] * (t.ndim - 1)), t, s)[~arrived] for s, t in zip(state, tried))
        live = live[~arrived]
        if not len(live):
            break
    return six, linear, sse


def _step(six: np.ndarray, state: tuple[np.ndarray, ...], damping: np.ndarray, low: np.ndarray, high: np.ndarray):  # type: ignore[no-untyped-def]
    """Make a damped Gauss-Newton step; a parameter at a bound that would leave it stays there."""
    jacobian, residual = _jacobian(six, state), state[2]
    slope = np.matmul(jacobian, residual[..., None])[..., 0]  # downhill
    held = ((six <= low) & (slope < 0)) | ((six >= high) & (slope > 0))
    jacobian[held] = 0
    slope[held] = 0
    normal = np.matmul(jacobian, jacobian.transpose(0, 2, 1))
    at = np.arange(6)
    diagonal = normal[:, at, at]
    floor = 1e-9 * diagonal.max(1, keepdims=True) + 1e-300
    normal[:, at, at] = diagonal + damping[:, None] * np.maximum(diagonal, floor) + np.where(held, 1.0, floor)
    return np.clip(six + np.linalg.solve(normal, slope[..., None])[..., 0], low, high) - six


def _folded(six: np.ndarray, linear: np.ndarray) -> np.ndarray:
    """Name the nine parameters, with 0 <= θ < 180, A > 0, -180 < φ <= 180."""
    x, y, theta, f, sx, sy = six.T
    theta = np.rad2deg(theta)
    turns = np.floor(theta / 180)
    sign = np.where(turns % 2 == 0, 1.0, -1.0)  # half a turn of the bars turns u round, and with it the phase
    phase = sign * np.rad2deg(np.arctan2(-linear[:, 1], linear[:, 0]))
    theta = theta - 180 * turns
    theta, phase = np.where(theta >= 180, 0.0, theta), np.where(phase <= -180, 180.0, phase)
    return np.stack([x, y, theta, f, sx, sy, phase, np.hypot(linear[:, 0], linear[:, 1]), linear[:, 2]], axis=1)
