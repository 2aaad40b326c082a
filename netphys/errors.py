"""What a user can get wrong: one class a kind of mistake, one line a message.

A :class:`NetphysError` says what is wrong, where, and what would be right. The commands print that line and exit
with 2; any other exception is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "AddressError",
    "DeviceError",
    "FileError",
    "LayerNotFound",
    "MatchError",
    "NetphysError",
    "NeuralDataError",
    "OptionError",
    "OutputError",
    "RecordingError",
    "StimulusError",
    "StudyError",
    "TrainingError",
    "WeightsError",
    "near",
]


class NetphysError(Exception):
    """A mistake that the user can mend; its text is one line."""


class AddressError(NetphysError):
    """An address (``torchvision:NAME``, ``world:scenes?...``) that leads nowhere."""


class OptionError(NetphysError, ValueError):
    """A value that an option does not take."""


class LayerNotFound(NetphysError, KeyError):
    """A layer name or pattern that matches no layer of the network."""

    def __str__(self) -> str:  # KeyError would print the message with quotation marks
        return str(self.args[0]) if self.args else ""


class WeightsError(NetphysError):
    """Weights that do not fit the network they were given to."""


class StimulusError(NetphysError):
    """Stimuli that cannot be read or shown."""


class FileError(NetphysError):
    """A file that is damaged, points elsewhere, or claims what it cannot hold."""


class NeuralDataError(FileError):
    """A file of neural data that cannot be understood as asked."""


class MatchError(NetphysError):
    """Stimuli of a network and of neural data that do not match by ``stimulus_id``."""


class RecordingError(FileError):
    """A recording that is incomplete, damaged, or another one than was asked for."""


class StudyError(NetphysError):
    """A study file that says something netphys does not understand."""


class TrainingError(NetphysError):
    """A training that cannot begin, go on or be read: an input is missing, another plan in the way, a loss is nan."""


class DeviceError(NetphysError):
    """A device that is not there."""


class OutputError(NetphysError):
    """Results that cannot be written: no permission, no space, something in the way."""


def near(name: str, names: Iterable[str], *, n: int = 3) -> str:
    """Say which of `names` are near `name`, as the tail of an error message.

    Parameters
    ----------
    name : str
        What the user wrote.
    names : iterable of str
        What there is.
    n : int
        How many names to list at most.

    Returns
    -------
    str
        ``"; near: 'a', 'b'"``, or ``"; there are: ..."`` where nothing is near and the list is short, or ``""``.

    Examples
    --------
    >>> near("resnet81", ["resnet18", "vgg11"])
    "; near: 'resnet18'"
    """
    known = list(dict.fromkeys(names))
    folded = {each.lower(): each for each in known}
    found = [folded[each] for each in difflib.get_close_matches(name.lower(), folded, n=n, cutoff=0.5)]
    if found:
        return "; near: " + ", ".join(repr(each) for each in found)
    if known and len(known) <= 12:
        return "; there are: " + ", ".join(repr(each) for each in known)
    return ""
