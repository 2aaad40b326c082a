"""The colours of networks, the same in every drawing; the colour-blind can tell them apart."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["COLOURS", "colours_of"]

# Okabe & Ito (2008), in an order in which neighbours differ in lightness, too; yellow is too light for lines
COLOURS = ("#0072B2", "#E69F00", "#595959", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")


def colours_of(networks: Iterable[str]) -> dict[str, str]:
    """Give each network its colour, by order of first appearance.

    Examples
    --------
    >>> colours_of(["alexnet", "vgg16", "alexnet"])
    {'alexnet': '#0072B2', 'vgg16': '#E69F00'}
    """
    return {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(dict.fromkeys(networks))}
