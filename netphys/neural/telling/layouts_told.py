"""What the axes of an array may be, told by the lengths of the vectors beside it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

__all__ = ["HINTS", "Beside", "layouts"]

HINTS = {  # what vectors and columns are usually called, by what they say
    "stimulus": re.compile(r"stim|image|img|pic|file|^s?ids?$|scene|condition", re.I),
    "neuroid": re.compile(r"neuro|unit|cell|channel|electrode|site|^nid", re.I),
    "time": re.compile(r"time|bins?$|edge|^ts?$|latenc", re.I),
}
_USUAL = (  # the commonest orders first; others follow as permutations give them
    ("stimulus", "neuroid"),
    ("neuroid", "stimulus"),
    ("neuroid", "stimulus", "repetition"),
    ("stimulus", "neuroid", "repetition"),
    ("stimulus", "neuroid", "time"),
    ("neuroid", "stimulus", "time"),
    ("neuroid", "stimulus", "repetition", "time"),
    ("stimulus", "neuroid", "repetition", "time"),
)
_FEW = 3  # layouts of an array; more are no help


@dataclass(frozen=True)
class Beside:
    """A vector beside an array: its length, and what it would say of time, where it is numbers that grow."""

    name: str
    length: int
    is_text: bool
    grows: str = ""  # what time= says of numbers that grow: their name, or START:STOP:WIDTH of those in seconds

    def hints(self) -> str:
        """What its name says that it is; ``""`` where it does not."""
        last = re.split(r"[./]", self.name)[-1]
        return next((role for role, word in HINTS.items() if word.search(last)), "")


def layouts(
    shape: Sequence[int],
    beside: Sequence[Beside],
    *,
    n_stimuli: int | None,
    said: Mapping[str, str],
    own: Collection[str],
) -> list[dict[str, str]]:
    """Options that say what the axes of an array are, the likeliest first.

    Parameters
    ----------
    shape : sequence of int
    beside : sequence of Beside
        Vectors of the same file.
    n_stimuli : int, optional
        How many stimuli there are, where a list says it.
    said : mapping
        What the address says already: kept.
    own : collection of str
        Names of ids that are read without being said.
    """
    if sum(size > 1 for size in shape) < 2:
        return []
    found = []
    for rank, axes in enumerate(_orders(len(shape), said)):
        vectors = _vectors(shape, axes, beside, said)
        if not _fits(shape, axes, beside, vectors, n_stimuli, said):
            continue
        options = {role: name for role, name in vectors.items() if not (role == "stimulus" and name in own)}
        found.append((-len(vectors), rank, axes, {"kind": "responses", "axes": ",".join(axes), **options}))
    found.sort(key=lambda each: each[:2])
    out = []
    for _, _, axes, options in found[:_FEW]:
        out.append(options)
        if "stimulus" in axes and "repetition" not in axes and ({"stimulus"} & {*options, *said}):
            out.append({**options, "axes": options["axes"].replace("stimulus", "presentation")})  # ids may repeat
    return out


def _orders(n: int, said: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Orders of n axes, the usual ones first; the one that is said, where it has so many."""
    wanted = tuple(word.strip() for word in said.get("axes", "").split(","))
    if len(wanted) == n:
        return [wanted]
    rest_of: dict[int, list[tuple[str, ...]]] = {2: [()], 3: [("repetition",), ("time",)], 4: [("repetition", "time")]}
    third = rest_of.get(n, [])
    every = [axes for rest in third for axes in permutations(("stimulus", "neuroid", *rest))]
    return sorted(every, key=lambda axes: _USUAL.index(axes) if axes in _USUAL else len(_USUAL))


def _vectors(
    shape: Sequence[int], axes: Sequence[str], beside: Sequence[Beside], said: Mapping[str, str]
) -> dict[str, str]:
    """The vector that names what stands along each axis, where one of that length does."""
    found: dict[str, str] = {}
    for role, length in zip(axes, shape):
        role = "stimulus" if role == "presentation" else role
        if role in said or role == "repetition":
            continue
        fitting = [each for each in beside if _may_be(each, role, length) and each.name not in found.values()]
        fitting.sort(key=lambda each: each.hints() != role)
        if fitting:
            found[role] = fitting[0].grows if role == "time" else fitting[0].name
    return found


def _may_be(each: Beside, role: str, length: int) -> bool:
    """Tell whether a vector may say what stands along an axis."""
    if role == "time":
        return bool(each.grows) and each.length in (length, length + 1) and each.hints() in ("", "time")
    return each.length == length and (each.hints() == role or (each.is_text and each.hints() == ""))


def _fits(
    shape: Sequence[int],
    axes: Sequence[str],
    beside: Sequence[Beside],
    vectors: Mapping[str, str],
    n_stimuli: int | None,
    said: Mapping[str, str],
) -> bool:
    """Tell whether nothing that is known speaks against an order of axes."""
    at = {("stimulus" if role == "presentation" else role): size for role, size in zip(axes, shape)}
    if n_stimuli is not None and at.get("stimulus") != n_stimuli:
        return False
    if "time" in at and "time" not in {*vectors, *said}:
        return False
    for role in {"stimulus", "neuroid", "repetition"} & set(at) - set(vectors) - set(said):
        if len(shape) > 2 and any(_may_be(each, "time", at[role]) and each.length == at[role] for each in beside):
            return False  # an axis that times are of is no other
    for role in ("stimulus", "neuroid"):
        named = [each for each in beside if each.hints() == role and each.length > 1 and each.length in shape]
        if named and role not in said and all(each.length != at.get(role) for each in named):
            return False
    return True
