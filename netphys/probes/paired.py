"""Two accuracies on the same stimuli: their difference, its interval, and the exact test of McNemar."""

from __future__ import annotations

import numpy as np

__all__ = ["mcnemar_p", "newcombe_interval", "wilson_interval"]

_Z = 1.959963984540054  # standard normal quantile of 97.5 %


def wilson_interval(n_right: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    References
    ----------
    Wilson (1927), J Am Stat Assoc 22:209, doi:10.1080/01621459.1927.10502953

    Examples
    --------
    >>> low, high = wilson_interval(81, 263)
    >>> round(low, 4), round(high, 4)
    (0.2553, 0.3662)
    """
    share, square = n_right / n, _Z * _Z
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = _Z * np.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def mcnemar_p(first: np.ndarray, second: np.ndarray) -> float:
    """Test whether two answers are right equally often: two-sided, exact (binomial over stimuli where they differ).

    Parameters
    ----------
    first, second : bool array (stimulus,)
        Whether each was right.

    References
    ----------
    McNemar (1947), Psychometrika 12:153, doi:10.1007/BF02295996

    Examples
    --------
    >>> mcnemar_p(np.array([True] * 6), np.array([True] + [False] * 5))
    0.0625
    """
    from scipy.stats import binom

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return min(1.0, 2 * float(binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)))


def newcombe_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same stimuli, first minus second.

    Parameters
    ----------
    first, second : bool array (stimulus,)
        Whether each was right.

    Notes
    -----
    Method 10 of Newcombe: Wilson's intervals of the two shares, joined with their correlation.

    References
    ----------
    Newcombe (1998), Stat Med 17:2635, doi:10.1002/(SICI)1097-0258(19981130)17:22<2635::AID-SIM954>3.0.CO;2-C

    Examples
    --------
    >>> a, b = np.repeat([True, True, False], [36, 12, 2]), np.repeat([True, False, True], [36, 12, 2])
    >>> low, high = newcombe_interval(a, b)
    >>> round(low, 4), round(high, 4)
    (0.0569, 0.3404)
    """
    n = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    right = int(first.sum()), int(second.sum())
    (low_1, high_1), (low_2, high_2) = (wilson_interval(each, n) for each in right)
    share_1, share_2 = right[0] / n, right[1] / n
    margins = np.sqrt(float(right[0]) * (n - right[0]) * right[1] * (n - right[1]))
    excess = float(both * neither - (right[0] - both) * (right[1] - both))
    if excess > 0:
        excess = max(excess - n / 2, 0)  # the correction for continuity
    correlation = excess / margins if margins else 0.0
    down = (share_1 - low_1) ** 2 - 2 * correlation * (share_1 - low_1) * (high_2 - share_2) + (high_2 - share_2) ** 2
    up = (high_1 - share_1) ** 2 - 2 * correlation * (high_1 - share_1) * (share_2 - low_2) + (share_2 - low_2) ** 2
    difference = share_1 - share_2
    return float(difference - np.sqrt(down)), float(difference + np.sqrt(up))
