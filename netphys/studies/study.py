"""The study file: one experiment as TOML, every key known by name.

::

    title = "92 images: SqueezeNet and IT"
    data = "data"                                  # {data} in an address is replaced by it

    [stimuli]
    address = "{data}/kriegeskorte92"

    [[networks]]
    name = "SqueezeNet"
    address = "torchvision:squeezenet1_1?resize=224"
    layers = ["features.*"]

    [[neural]]
    name = "monkey IT"
    address = "{data}/kriegeskorte92/brain.mat?variable=RDMs&index=0"
    ids = "{data}/kriegeskorte92/metadata.csv:file"

Relative paths start at the working directory. A misspelt key is refused by name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from netphys.errors import StudyError, near
from netphys.files import slug

__all__ = [
    "EMBEDDED",
    "FigureOptions",
    "NetworkEntry",
    "NeuralEntry",
    "RSAOptions",
    "StimuliEntry",
    "Study",
    "read_study",
    "study_toml",
]

EMBEDDED = "embedded"  # the name of the study that comes with the package


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What all tables of a study share: unknown keys are refused."""


class StimuliEntry(_Entry, frozen=True):
    """``[stimuli]``: what is shown."""

    address: str
    skip_broken: bool = False


class NetworkEntry(_Entry, frozen=True):
    """``[[networks]]``: who looks. `training` overrides what the address says."""

    name: str
    address: str
    layers: tuple[str, ...] = ("leaves",)
    training: str = ""
    keep: str = "all"


class NeuralEntry(_Entry, frozen=True):
    """``[[neural]]``: what the brain did. `compare_with` names other neural data drawn beside, as a model of these."""

    name: str
    address: str
    ids: str = ""
    compare_with: tuple[str, ...] = ()


class RSAOptions(_Entry, frozen=True):
    """``[rsa]``: how RDMs are made and compared."""

    rdm: str = "correlation"
    compare: str = "spearman"
    n_bootstraps: int = 1000


class FigureOptions(_Entry, frozen=True):
    """``[figures]``: `groups` is the column of the stimuli's metadata by which RDMs are sorted."""

    groups: str = "category"
    caption: str = ""


class Study(_Entry, frozen=True):
    """A whole study."""

    title: str
    stimuli: StimuliEntry
    networks: tuple[NetworkEntry, ...]
    neural: tuple[NeuralEntry, ...]
    description: str = ""
    data: str = ""
    seed: int = 0
    device: str = "auto"
    rsa: RSAOptions = RSAOptions()
    figures: FigureOptions = FigureOptions()


def read_study(source: Path | str | None = None, settings: Sequence[str] = ()) -> Study:
    """Read a study file, change settings of it, check it.

    Parameters
    ----------
    source : Path, optional
        A TOML file. Default: the embedded study, which needs no files.
    settings : sequence of str
        ``"KEY=VALUE"``: ``rsa.n_bootstraps=200``, ``networks.SqueezeNet.address=...`` (entries of a list by name or
        number). Values are read as TOML, else taken as text.

    Raises
    ------
    StudyError
        If the file is absent or not TOML, a key is misspelt (near names are listed), a value has the wrong type,
        or names of entries are missing or used twice.

    Examples
    --------
    >>> read_study(settings=["rsa.n_bootstraps=200"]).rsa.n_bootstraps
    200
    """
    called = EMBEDDED if source is None else str(source)
    table = _parse(_text(source), called)
    for setting in settings:
        _set(table, setting, called)
    data = table.get("data", "")
    try:
        study = msgspec.convert(_with_data(table, str(data)), Study)
    except msgspec.ValidationError as error:
        raise StudyError(f"study {called}: {_explain(str(error))}") from None
    _check(study, called)
    return study


def study_toml(study: Study) -> str:
    """Write a study as TOML, as it was run."""
    return msgspec.toml.encode(study).decode()


def _text(source: Path | str | None) -> str:
    if source is None:
        return resources.files("netphys.studies").joinpath("embedded.toml").read_text(encoding="utf-8")
    try:
        return Path(source).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyError(f"no study file {source}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"study file {source} cannot be read ({error})") from None


def _parse(text: str, called: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"study {called} is not TOML: {error}") from None


def _set(table: dict[str, Any], setting: str, called: str) -> None:
    """Apply one ``KEY=VALUE``."""
    path, equals, text = setting.partition("=")
    if not equals or not path:
        raise StudyError(f"--set {setting!r} is not KEY=VALUE")
    keys = path.split(".")
    here: Any = table
    for key in keys[:-1]:
        here = _descend(here, key, setting, called)
    if isinstance(here, list):
        raise StudyError(f"--set {setting!r}: name the entry and then its key, as in {keys[0]}.NAME.KEY=VALUE")
    try:
        here[keys[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        here[keys[-1]] = text


def _descend(here: Any, key: str, setting: str, called: str) -> Any:
    """Go one key deeper: into a table, or into a list by number or name."""
    if isinstance(here, list):
        names = [str(entry.get("name", "")) for entry in here]
        if key in names:
            return here[names.index(key)]
        if key.isdigit() and int(key) < len(here):
            return here[int(key)]
        raise StudyError(f"--set {setting!r}: study {called} has no entry {key!r}{near(key, names)}")
    if not isinstance(here, dict):
        raise StudyError(f"--set {setting!r}: nothing is below {key!r} in study {called}")
    if key not in here:
        if key not in Study.__struct_fields__:
            raise StudyError(f"--set {setting!r}: study {called} has no {key!r}{near(key, Study.__struct_fields__)}")
        here[key] = {}
    return here[key]


def _with_data(value: Any, data: str) -> Any:
    """Replace ``{data}`` in every text."""
    if isinstance(value, str):
        return value.replace("{data}", data) if value != data else value
    if isinstance(value, dict):
        return {key: _with_data(each, data) for key, each in value.items()}
    return [_with_data(each, data) for each in value] if isinstance(value, list) else value


def _explain(message: str) -> str:
    """Turn msgspec's message into ours, with near names."""
    unknown = re.search(r"unknown field `(?P<field>[^`]*)`(?: - at `\$?(?P<place>[^`]*)`)?", message)
    if not unknown:
        return message.replace("`$.", "`").replace("Object missing required field", "it lacks").replace("at `$`", "")
    place = re.sub(r"\[\.\.\.\]|\[\d+\]", "", unknown["place"] or "").strip(".")
    entry = {
        "": Study,
        "stimuli": StimuliEntry,
        "networks": NetworkEntry,
        "neural": NeuralEntry,
        "rsa": RSAOptions,
        "figures": FigureOptions,
    }.get(place, Study)
    where = f" in [{place}]" if place else ""
    return f"no key {unknown['field']!r}{where}{near(unknown['field'], entry.__struct_fields__)}"


def _check(study: Study, called: str) -> None:
    """Refuse what the types cannot: empty lists, doubled names, references to nothing."""
    for kind, entries in (("networks", study.networks), ("neural", study.neural)):
        names = [entry.name for entry in entries]
        if not names:
            raise StudyError(f"study {called} names no {kind}")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise StudyError(f"study {called} has two {kind} named {twice[0]!r}")
        files = [slug(name) for name in names]
        for index, file in enumerate(files):
            if file in files[:index]:
                first, second = names[files.index(file)], names[index]
                raise StudyError(f"study {called}: {first!r} and {second!r} would share the file {file!r}; rename one")
    known = [entry.name for entry in study.neural]
    for entry in study.neural:
        for other in entry.compare_with:
            if other not in known:
                raise StudyError(f"study {called}: {entry.name!r} compares with {other!r}{near(other, known)}")
