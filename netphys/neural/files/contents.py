"""What a file of arrays holds: its variables by name, and the choice of one of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from netphys.errors import NeuralDataError, near

__all__ = ["Kind", "Variable", "choose", "kind_of"]

Kind = Literal["numbers", "text", "struct", "cell", "other"]


@dataclass(frozen=True)
class Variable:
    """One variable of a file, known from its header alone."""

    name: str
    shape: tuple[int, ...]
    kind: Kind

    def __str__(self) -> str:
        what = "" if self.kind == "numbers" else f" {self.kind}"
        return f"{self.name} ({', '.join(map(str, self.shape))}){what}"


def kind_of(dtype: np.dtype) -> Kind:
    """Name the kind of an array by its dtype."""
    if dtype.kind in "fiub":
        return "numbers"
    return "text" if dtype.kind in "SU" else "other"


def choose(
    path: Path, held: Mapping[str, Variable], wanted: str | None, fits: Callable[[Variable], bool], *, what: str
) -> Variable:
    """Choose the variable that the user names, or the only one that fits.

    Parameters
    ----------
    path : Path
        The file, for messages.
    held : mapping
        Its variables by name.
    wanted : str or None
        The name that the user gave.
    fits : callable
        Whether a variable can be what is looked for.
    what : str
        What is looked for, for messages.

    Raises
    ------
    NeuralDataError
        If there is none of that name (near names are given), or none or several fit (all are listed with shapes).
    """
    if wanted is not None:
        if wanted not in held:
            raise NeuralDataError(f"{path} has no variable {wanted!r}{near(wanted, held)}")
        return held[wanted]
    fitting = [each for each in held.values() if fits(each)]
    if len(fitting) == 1:
        return fitting[0]
    listed = "; ".join(map(str, list(held.values())[:20])) + ("; ..." if len(held) > 20 else "")
    if not fitting:
        raise NeuralDataError(f"{path} holds nothing that can be {what}; it holds: {listed or 'nothing'}")
    raise NeuralDataError(f"{path} holds several variables that can be {what}; name one by ?variable=NAME: {listed}")
