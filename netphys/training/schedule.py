"""The learning rate over the steps: a linear warm-up, then half a cosine; a pure function of the step.

No state is kept, so that a resumed training cannot skip or double a step.
"""

from __future__ import annotations

import math

from netphys.errors import OptionError

__all__ = ["rate_at"]


def rate_at(step: int, *, n_steps: int, rate: float, warm_up: float = 0.0, final: float = 0.0) -> float:
    """Say the learning rate of a step.

    Parameters
    ----------
    step : int
        From 0.
    n_steps : int
        How many steps there are in all.
    rate : float
        The highest rate, reached at the end of the warm-up.
    warm_up : float
        Share of the steps, in [0, 1), over which the rate rises linearly; the first step has its part of it, not 0.
    final : float
        The rate that the cosine ends at.

    Raises
    ------
    OptionError
        If the warm-up is no share.

    References
    ----------
    Loshchilov & Hutter (2017), SGDR, equation 5, without restarts.

    Examples
    --------
    >>> [round(rate_at(step, n_steps=8, rate=1.0, warm_up=0.25), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 0.933, 0.75, 0.5, 0.25, 0.067]
    """
    if not 0 <= warm_up < 1:
        raise OptionError(f"warm_up={warm_up} is no share of the steps in [0, 1)")
    n_warm = round(warm_up * n_steps)
    if step < n_warm:
        return rate * (step + 1) / n_warm
    done = (step - n_warm) / max(n_steps - n_warm, 1)
    return final + (rate - final) * (1 + math.cos(math.pi * done)) / 2
