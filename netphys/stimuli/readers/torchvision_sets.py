"""torchvision's sets by their names: options checked and converted, files that are missing said in one line."""

from __future__ import annotations

import contextlib
import inspect
import io
import socket
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from netphys.errors import NetphysError, OptionError, StimulusError, near
from netphys.guards import first_line

__all__ = ["torchvision_names", "torchvision_set"]

_OURS = ("self", "root", "download")
_CODE = ("transform", "target_transform", "transforms", "loader", "is_valid_file")  # functions: not of an address
_PATIENCE = 60.0  # s that a server may say nothing
_BASES = ("VisionDataset", "DatasetFolder")


def torchvision_names() -> list[str]:
    """Return the names of torchvision's sets.

    Returns
    -------
    list of str
        Its classes of data sets, as ``CIFAR10``; without those that are bases of others.
    """
    from torchvision import datasets

    kinds = {name: getattr(datasets, name) for name in datasets.__all__}
    return [name for name, kind in kinds.items() if inspect.isclass(kind) and name not in _BASES]


def torchvision_set(name: str, root: Path | str, *, download: bool | str = False, **options: Any) -> Any:
    """Make one of torchvision's sets.

    Parameters
    ----------
    name : str
        Its class in ``torchvision.datasets``.
    root : Path
        The folder of its files.
    download : bool
        Fetch what is not there.
    **options
        Of the class; text is converted to what the class wants.

    Returns
    -------
    torch.utils.data.Dataset

    Raises
    ------
    StimulusError
        If there is no such set, or its files are not there and cannot be fetched.
    OptionError
        If the class takes no such option or value, wants one that is not given, or cannot fetch its files.
    """
    names = torchvision_names()
    if name not in names:
        raise StimulusError(f"torchvision has no set {name!r}{near(name, names)}")
    from torchvision import datasets

    kind = getattr(datasets, name)
    taken = inspect.signature(kind.__init__).parameters
    chosen = _checked_options(name, taken, typing.get_type_hints(kind.__init__), options)
    wanted = _converted(f"torchvision:{name}", "download", download, bool)
    if "root" in taken:
        chosen["root"] = str(root)
    if "download" in taken:
        chosen["download"] = wanted
    elif wanted:
        raise OptionError(f"torchvision:{name} cannot be fetched by itself; put its files into {root} by hand")
    with _said(name, root, wanted, can_fetch="download" in taken):
        return kind(**chosen)


def _checked_options(
    name: str, taken: typing.Mapping[str, inspect.Parameter], hints: dict[str, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """Refuse options that the class does not take, and convert those that are text."""
    known = [each for each, about in taken.items() if each not in _OURS and about.kind is not about.VAR_KEYWORD]
    odd = next((each for each in options if each not in known), None)
    if odd is not None:
        raise OptionError(f"torchvision:{name} takes no option {odd!r}{near(odd, known)}")
    missing = [each for each in known if taken[each].default is inspect.Parameter.empty and each not in options]
    if missing:
        raise OptionError(f"torchvision:{name} wants {', '.join(missing)} too, as {missing[0]}=...")
    chosen = {}
    for key, value in options.items():
        if isinstance(value, str) and key in _CODE:
            raise OptionError(f"torchvision:{name}: {key} is a function, which no text can say; leave it out")
        wanted = hints.get(key, type(taken[key].default))
        chosen[key] = _converted(f"torchvision:{name}", key, value, wanted)
    return chosen


def _converted(where: str, key: str, value: Any, wanted: Any) -> Any:
    """Convert an option that is text to the type that is wanted."""
    kinds = typing.get_args(wanted) if typing.get_origin(wanted) is not tuple and typing.get_args(wanted) else (wanted,)
    if not isinstance(value, str) or any(each is str for each in kinds):
        return value
    text = value.strip().lower()
    if bool in kinds:
        if text in ("true", "1", "yes"):
            return True
        if text in ("false", "0", "no"):
            return False
        raise OptionError(f"{where}: {key}={value} is not understood; true or false is wanted")
    if type(None) in kinds and text == "none":
        return None
    for kind in kinds:
        if kind in (int, float) or typing.get_origin(kind) is tuple:
            try:
                return (
                    tuple(int(each) for each in value.split(",")) if typing.get_origin(kind) is tuple else kind(value)
                )
            except ValueError:
                raise OptionError(f"{where}: {key}={value} is not understood; numbers are wanted") from None
    return value


@contextlib.contextmanager
def _said(name: str, root: Path | str, download: bool, *, can_fetch: bool) -> Iterator[None]:
    """Turn what torchvision raises into one line, keep what it prints, and wait for no silent server."""
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_PATIENCE)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except NetphysError:
        raise
    except ImportError as error:
        raise StimulusError(f"torchvision:{name} needs a package that is not installed ({first_line(error)})") from None
    except Exception as error:  # each of its sets raises its own
        how = "download=true fetches it" if can_fetch else "it is fetched by hand, as torchvision's page on it says"
        if download:
            raise StimulusError(f"torchvision:{name} cannot be fetched into {root} ({first_line(error)})") from None
        if isinstance(error, RuntimeError | FileNotFoundError | NotADirectoryError):
            raise StimulusError(f"torchvision:{name} is not, or not whole, in {root}; {how}") from None
        raise StimulusError(f"torchvision:{name} cannot be read from {root} ({first_line(error)})") from None
    finally:
        socket.setdefaulttimeout(patience)
