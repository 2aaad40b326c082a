"""Variants of images by name, as an address says them: ``images/?variant=phase_scrambled(n=2)``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from netphys.errors import OptionError, near
from netphys.stimuli.calls import Call, parse_calls
from netphys.stimuli.classic.crowding import crowded
from netphys.stimuli.classic.occlusion import occluded
from netphys.stimuli.classic.scrambling import phase_scrambled
from netphys.stimuli.classic.textures import texture_controls
from netphys.stimuli.classic.varied import Stimuli, as_set
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["VARIANTS", "make_variant"]

# Each takes a set, options by keyword, and seed; and returns a set.
VARIANTS: dict[str, Callable[..., StimulusSet]] = {
    "crowded": crowded,
    "occluded": occluded,
    "phase_scrambled": phase_scrambled,
    "texture_controls": texture_controls,
}


def make_variant(stimuli: Stimuli, said: str, *, seed: int = 0) -> StimulusSet:
    """Make a variant of stimuli, said as text.

    Parameters
    ----------
    stimuli : StimulusSet, address or array
        With images.
    said : str
        ``"NAME"`` or ``"NAME(value, ..., option=value, ...)"``, NAME of :data:`VARIANTS`; values without a name are
        those of the function's options in their order, `n` first. The grammar is that of :mod:`netphys.stimuli.calls`.
        Several with ``|`` are done one after another.
    seed : int
        Where `said` names none.

    Raises
    ------
    OptionError
        If there is no such variant or option, an option is told twice, or the text is not understood.

    Examples
    --------
    >>> import numpy as np
    >>> grey = StimulusSet.from_arrays(np.full((1, 3, 8, 8), 128, dtype=np.uint8))
    >>> make_variant(grey, "occluded(n=2, kind=edge)").ids
    ('0~occluded-0', '0~occluded-1')
    """
    shown = as_set(stimuli)
    for call in parse_calls(said):
        shown = _made(shown, call, seed)
    return shown


def _made(stimuli: StimulusSet, call: Call, seed: int) -> StimulusSet:
    """Make one variant."""
    if call.name not in VARIANTS:
        raise OptionError(f"no variant {call.name!r}{near(call.name, VARIANTS)}")
    make = VARIANTS[call.name]
    known = {
        each.name: str(each.annotation)
        for each in inspect.signature(make).parameters.values()
        if each.kind is each.KEYWORD_ONLY
    }
    options = _options(call, list(known))
    for option, value in options.items():
        _require_kind(call.name, option, value, known[option])
    return make(stimuli, **{"seed": seed, **options})


def _options(call: Call, known: Sequence[str]) -> dict[str, Any]:
    """Name the values that a call has by position, in the order of the options that there are."""
    listed = ", ".join(known)
    if len(call.args) > len(known):
        raise OptionError(f"variant {call.name} takes {len(known)} options ({listed}), not {len(call.args)}")
    given = dict(zip(known, call.args))
    for option, value in call.kwargs.items():
        if option not in known:
            raise OptionError(
                f"variant {call.name} takes no option {option!r}{near(option, known) or f'; its options: {listed}'}"
            )
        if option in given:
            raise OptionError(f"variant {call.name} is told {option} twice")
        given[option] = value
    return given


def _require_kind(name: str, option: str, value: Any, annotation: str) -> None:
    """Refuse a value of another kind than an option's annotation says."""
    whole, number = isinstance(value, int) and not isinstance(value, bool), isinstance(value, float)
    wanted = {"int": ("a whole number", whole), "float": ("a number", whole or number)}
    wanted["float | None"] = ("a number", whole or number or value is None)
    wanted["tuple[float, float]"] = ("two numbers, as (1, 2)", isinstance(value, tuple) and len(value) == 2)
    said, fits = wanted.get(annotation, ("a word", isinstance(value, str) or value is None))
    if not fits:
        raise OptionError(f"variant {name}: {option}={value!r} is not {said}")
