"""What is done to an image before it is shown: one declared, hashable object.

A :class:`Treatment` is steps in order, written as text, ``grey() | field(8, 224) | luminance(mean=0.5, sd=0.2)``; a
recording's digest depends on it. :func:`treat` makes a set of stimuli that are treated when they are read. What a
*network* wants done to an image is :class:`netphys.networks.Preprocess`, and comes after.

=================================  ====================================================================================
step                               what it does
=================================  ====================================================================================
``grey(weights)``                  takes colours away
``resize(size)``                   antialiased, as a network's preprocessing
``crop(size)``, ``pad(size)``      about the centre
``field(degrees, size)``           sets the image, of its visual angle, into a field of view
``rotate(angle)``, ``flip()``      about the centre; mirrors
``contrast(factor)``               scales about mean grey
``brightness(amount)``             adds
``blur(sigma)``                    Gaussian, pixels
``lowpass``, ``highpass``,         spatial frequencies, cycles an image, a degree or a pixel
``bandpass``
``aperture(diameter, edge)``       a round window with a soft edge
``luminance(mean, sd)``            matches mean and contrast
``histogram()``                    matches histograms exactly
``spectrum(kind)``                 matches amplitude spectra
``joint(iterations, kind)``        matches both
``rescale()``, ``clip()``          into [0, 1]: the whole set by one line; each value
=================================  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from netphys.errors import NetphysError, OptionError, near
from netphys.stimuli.calls import Call, parse_calls, to_text
from netphys.stimuli.treating.filters import Bandpass, Blur, Highpass, Lowpass
from netphys.stimuli.treating.framing_steps import Crop, Field, Flip, Pad, Resize, Rotate
from netphys.stimuli.treating.light import Aperture, Brightness, Clip, Contrast, Grey
from netphys.stimuli.treating.matching import Histogram, Joint, Luminance, Rescale, Spectrum
from netphys.stimuli.treating.step import Step

if TYPE_CHECKING:
    from netphys.stimuli.stimulus_set import StimulusSet

_STEPS: tuple[type[Step], ...] = (
    Aperture, Bandpass, Blur, Brightness, Clip, Contrast, Crop, Field, Flip, Grey, Highpass, Histogram, Joint, Lowpass,
    Luminance, Pad, Rescale, Resize, Rotate, Spectrum,
)  # fmt: skip
_BY_KEYWORD = {each.keyword: each for each in _STEPS}

__all__ = [
    "Aperture",
    "Bandpass",
    "Blur",
    "Brightness",
    "Clip",
    "Contrast",
    "Crop",
    "Field",
    "Flip",
    "Grey",
    "Highpass",
    "Histogram",
    "Joint",
    "Lowpass",
    "Luminance",
    "Pad",
    "Rescale",
    "Resize",
    "Rotate",
    "Spectrum",
    "Treatment",
    "treat",
]


@dataclass(frozen=True, init=False, repr=False)
class Treatment:
    """Steps, in the order in which they are done.

    Parameters
    ----------
    *steps : Step or str
        As ``Grey(), Resize(256)``; or one text, as :meth:`from_text` reads it. Equal steps make equal treatments, of
        one hash.

    Raises
    ------
    OptionError
        If there is no step, or something is none.

    Notes
    -----
    Values between steps may leave [0, 1]; they are clipped once, at the end, and are float32 from then on: they are
    never rounded to 8 bit.

    Examples
    --------
    >>> given = Treatment(Grey(), Resize(256), Luminance(mean=0.5, sd=0.2))
    >>> str(given)
    'grey() | resize(256) | luminance(mean=0.5, sd=0.2)'
    >>> Treatment(str(given)) == given
    True
    """

    steps: tuple[Step, ...]

    def __init__(self, *steps: Step | str) -> None:
        if len(steps) == 1 and isinstance(steps[0], str):
            steps = Treatment.from_text(steps[0]).steps
        for each in steps:
            if not isinstance(each, _STEPS):
                raise OptionError(
                    "a treatment is of steps, as Grey() or Resize(256), or of one text, as 'grey() | resize(256)'; "
                    f"{each!r} is none"
                )
        if not steps:
            raise OptionError(f"a treatment has at least one step: {', '.join(_BY_KEYWORD)}")
        object.__setattr__(self, "steps", tuple(steps))

    @classmethod
    def from_text(cls, text: str, *, error: type[NetphysError] = OptionError) -> Treatment:
        """Read a treatment from text: :mod:`netphys.stimuli.calls` says its grammar.

        Parameters
        ----------
        text : str
            ``"grey() | resize(256)"``.
        error : type of NetphysError
            What is raised where the text is no calls.

        Raises
        ------
        OptionError
            If there is no such step, or it does not take an option.
        """
        return cls(*(_step(each) for each in parse_calls(text, error=error)))

    def __str__(self) -> str:
        return to_text([each.to_call() for each in self.steps])

    def __repr__(self) -> str:
        return f"Treatment.from_text({str(self)!r})"

    def __or__(self, other: Treatment) -> Treatment:
        """Do another one after it, without clipping between."""
        return Treatment(*self.steps, *other.steps) if isinstance(other, Treatment) else NotImplemented

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for digests and files: every option of every step."""
        steps = [
            {"step": each.keyword, **{option.name: getattr(each, option.name) for option in fields(each)}}
            for each in self.steps
        ]
        return {"steps": steps}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Treatment:
        """Make one of plain data, as files hold it.

        Raises
        ------
        OptionError
            If it is not that of a treatment.
        """
        steps = values.get("steps") if isinstance(values, Mapping) and set(values) == {"steps"} else None
        if not isinstance(steps, list | tuple) or not all(
            isinstance(each, Mapping) and "step" in each for each in steps
        ):
            raise OptionError('a treatment as plain data is {"steps": [{"step": "grey"}, ...]}')
        return cls(*(_step(Call(str(e["step"]), (), {k: v for k, v in e.items() if k != "step"})) for e in steps))

    @property
    def moves(self) -> bool:
        """Whether things change their places in the image."""
        return any(each.moves for each in self.steps)

    @property
    def may_leave_range(self) -> bool:
        """Whether something may have to be clipped at the end."""
        for each in reversed(self.steps):
            if isinstance(each, Clip | Histogram) and not each.may_leave_range:
                return False
            if each.may_leave_range:
                return True
        return False


def treat(stimuli: StimulusSet, treatment: Treatment | str, *, like: StimulusSet | None = None) -> StimulusSet:
    """Treat every image of a set, when it is read.

    Parameters
    ----------
    stimuli : StimulusSet
        The fields ``image``, ``left``, ``right`` and ``clip`` (frame by frame) are treated.
    treatment : Treatment or str
        What is done.
    like : StimulusSet, optional
        The set on which targets are measured; default `stimuli` itself, as it is now: a subset taken later keeps them.

    Returns
    -------
    StimulusSet
        Images float32 in [0, 1]. Ids, metadata and other fields are the same; but after a step that moves things, maps
        of whole numbers or booleans of the image's size (masks, labels) follow by nearest neighbour, 0 outside, and
        other fields of two or more axes (depth, disparity, boxes) are not offered, and the column ``degrees`` says
        what the images span then.

    Raises
    ------
    StimulusError
        If nothing is there to treat, or a picture cannot be treated so; also later, when it is read.

    Notes
    -----
    A step with something to measure reads the set once, in memory that does not grow with it. Clips and both pictures
    of a pair count as pictures. A picture is the same to the bit whatever is read beside it. The digest of a stimulus
    is that of its source, of every option, of the targets and of the code.

    Examples
    --------
    >>> import netphys
    >>> shown = treat(netphys.load_stimuli("world:scenes?n=3&size=32"), "grey() | luminance(sd=0.1)")
    >>> shown.treatment
    'grey() | luminance(sd=0.1)'
    >>> round(float(shown.images([0]).std(correction=0)), 4)
    0.1
    """
    from netphys.stimuli.treating.treated import degrees_after, degrees_of, treated_source

    made = treatment if isinstance(treatment, Treatment) else Treatment.from_text(treatment)
    source = treated_source(stimuli, made, like)
    table = stimuli.metadata
    degrees = degrees_after(made, degrees_of(table), len(table)) if made.moves else None
    if degrees is not None:
        table["degrees"] = degrees
    return type(stimuli)(
        source,
        table,
        name=stimuli.name,
        left_out=stimuli.left_out,
        treatment=_appended(stimuli.treatment, made),
        address=stimuli.address,
    )


def _step(call: Call) -> Step:
    """Make the step that a call names."""
    if call.name not in _BY_KEYWORD:
        raise OptionError(f"there is no step {call.name!r} of a treatment{near(call.name, _BY_KEYWORD)}")
    return _BY_KEYWORD[call.name].from_options(call.args, call.kwargs)


def _appended(before: str, treatment: Treatment) -> str:
    """Write what has been done in all; that the first one clipped at its end is said where it may have mattered."""
    if not before:
        return str(treatment)
    try:
        clipped = Treatment.from_text(before).may_leave_range
    except OptionError:  # sets of several treatments, put together
        return f"({before}) | {treatment}"
    return f"{before} | clip() | {treatment}" if clipped else f"{before} | {treatment}"
