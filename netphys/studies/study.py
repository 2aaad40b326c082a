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

Required are ``title``, ``[stimuli]`` with its address, and at least one ``[[networks]]`` and ``[[neural]]``, each with
name and address. A network with a table ``[networks.train]`` is trained first; ``[probe]`` and ``[units]`` ask what its
layers know and what drives its units (:mod:`netphys.studies.entries` lists all keys). Relative paths start at the
working directory. A misspelt key is refused by name.
"""

from __future__ import annotations

import logging
import re
import tomllib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import msgspec

from netphys.errors import OptionError, StudyError, near
from netphys.files import slug
from netphys.studies.entries import (
    TABLES,
    FigureOptions,
    NetworkEntry,
    NeuralEntry,
    ProbeOptions,
    RSAOptions,
    StimuliEntry,
    Study,
    TrainEntry,
    TrainingOptions,
    UnitOptions,
)

__all__ = [
    "EMBEDDED",
    "FEW",
    "TRUTH",
    "FigureOptions",
    "NetworkEntry",
    "NeuralEntry",
    "ProbeOptions",
    "RSAOptions",
    "StimuliEntry",
    "Study",
    "TrainEntry",
    "TrainingOptions",
    "UnitOptions",
    "read_study",
    "study_toml",
    "with_data",
]

log = logging.getLogger(__name__)

EMBEDDED = "embedded"  # the name of the study that comes with the package
FEW = 200  # bootstrap draws; with fewer the width of an interval is off by more than 5 %
TRUTH = "true responses"  # what the noise-free truth of simulated data is called, as a model


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
    try:
        study = msgspec.convert(table, Study)
    except msgspec.ValidationError as error:
        raise StudyError(f"study {called}: {_explain(str(error))}") from None
    _check(study, called)
    return study


def with_data(study: Study) -> Study:
    """Put the study's `data` into its addresses, in place of ``{data}``."""
    return msgspec.convert(_with_data(msgspec.to_builtins(study), study.data), Study)


def study_toml(study: Study) -> str:
    """Write a study as TOML, as it was run; ``{data}`` stays, so that ``--set data=DIR`` still says where."""
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
    here: Any = table
    while True:
        if isinstance(here, list):
            here, path = _entry(here, path, setting, called)
            continue
        key, dot, rest = path.partition(".")
        if not dot:
            break
        if key not in here:
            if here is not table and key in ("train", "options"):  # tables that may be absent
                here[key] = {}
            elif here is not table or key not in Study.__struct_fields__:
                known = Study.__struct_fields__ if here is table else here
                raise StudyError(f"--set {setting!r}: study {called} has no {key!r}{near(key, known)}")
            else:
                here[key] = {}
        here, path = here[key], rest
        if not isinstance(here, dict | list):
            raise StudyError(f"--set {setting!r}: nothing is below {key!r} in study {called}")
    try:
        here[path] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        here[path] = text


def _entry(entries: list[Any], path: str, setting: str, called: str) -> tuple[Any, str]:
    """Find the entry of a list that a path begins with, by name (which may hold dots) or number; and what follows."""
    if not all(isinstance(entry, dict) for entry in entries):
        raise StudyError(f"--set {setting!r}: a list of values is set as a whole, as in layers='[\"conv*\"]'")
    names = [str(entry.get("name", "")) for entry in entries]
    for name in sorted(names, key=len, reverse=True):
        if name and path.startswith(f"{name}."):
            return entries[names.index(name)], path.removeprefix(f"{name}.")
    key, _, rest = path.partition(".")
    if key.isdigit() and int(key) < len(entries) and rest:
        return entries[int(key)], rest
    if key in names or not rest:
        raise StudyError(f"--set {setting!r}: name the entry and then its key, as in NAME.KEY=VALUE")
    raise StudyError(f"--set {setting!r}: study {called} has no entry {key!r}{near(key, names)}")


def _with_data(value: Any, data: str) -> Any:
    """Replace ``{data}`` in every text."""
    if isinstance(value, str):
        return value.replace("{data}", data) if value != data else value
    if isinstance(value, dict):
        return {key: _with_data(each, data) for key, each in value.items()}
    return [_with_data(each, data) for each in value] if isinstance(value, list | tuple) else value


_KINDS = {"str": "text", "array": "a list", "int": "a whole number", "object": "a table", "bool": "true or false"}


def _explain(message: str) -> str:
    """Turn msgspec's message into ours, with near names."""
    found = re.search(r" - at `\$?\.?(?P<place>[^`]*)`", message)
    place = found["place"] if found else ""
    name = re.sub(r"\[.*?\]", "", place)
    where, table = (f" in [{name}]" if name else ""), TABLES.get(name, Study)
    if unknown := re.search(r"unknown field `(?P<field>[^`]*)`", message):
        return f"no key {unknown['field']!r}{where}{near(unknown['field'], table.__struct_fields__)}"
    if missing := re.search(r"missing required field `(?P<field>[^`]*)`", message):
        required = table.__struct_fields__[: len(table.__struct_fields__) - len(table.__struct_defaults__)]
        return f"it lacks {missing['field']!r}{where}; required are {', '.join(required)}"
    if wrong := re.search(r"Expected `(?P<wanted>\w+)[^`]*`, got `(?P<got>\w+)[^`]*`", message):
        wanted, got = (_KINDS.get(wrong[key], wrong[key]) for key in ("wanted", "got"))
        return f"{place} must be {wanted}, not {got}"
    return message


def _check(study: Study, called: str) -> None:
    """Refuse what the types cannot: empty lists, doubled names, references to nothing."""
    for kind, entries in (("networks", study.networks), ("neural", study.neural)):
        names = [entry.name for entry in entries]
        if not names:
            raise StudyError(f"study {called} names no {kind}")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise StudyError(f"study {called} has two {kind} named {twice[0]!r}")
    names = [each.name for each in study.networks] + [each.name for each in study.neural] + [TRUTH]
    files = [slug(name) for name in names]
    for index, file in enumerate(files):
        if file in files[:index]:
            first, second = names[files.index(file)], names[index]
            raise StudyError(f"study {called}: {first!r} and {second!r} would share the file {file!r}; rename one")
    _check_options(study.rsa, called)
    _check_training(study, called)
    if study.seed < 0:
        raise StudyError(f"study {called}: seed = {study.seed}; at least 0")
    known = [entry.name for entry in study.neural]
    for entry in study.neural:
        for other in entry.compare_with:
            if other == entry.name:
                raise StudyError(f"study {called}: {other!r} is compared with itself")
            if other not in known:
                raise StudyError(f"study {called}: {entry.name!r} compares with {other!r}{near(other, known)}")


def _check_training(study: Study, called: str) -> None:
    """Refuse trainings without stimuli, of unknown objectives, and controls that there are not."""
    names = [each.name for each in study.networks]
    for entry in study.networks:
        if entry.control and (entry.control not in names or entry.control == entry.name):
            others = [each for each in names if each != entry.name]
            raise StudyError(
                f"study {called}: control of {entry.name!r}: {entry.control!r}{near(entry.control, others)}"
            )
        if entry.train is None:
            continue
        from netphys.objectives import OBJECTIVES

        if entry.train.objective not in OBJECTIVES:
            odd = entry.train.objective
            raise StudyError(f"study {called}: {entry.name!r}: no objective {odd!r}{near(odd, OBJECTIVES)}")
        if entry.training:
            raise StudyError(
                f"study {called}: {entry.name!r} is trained, so that its training = is not for the file to say"
            )
        if not (entry.train.stimuli or study.training.stimuli):
            raise StudyError(f"study {called}: {entry.name!r} is trained on nothing; say [training] stimuli = ...")
    if study.probe is not None:
        if not 0 < study.probe.test < 1:
            raise StudyError(f"study {called}: [probe] test = {study.probe.test:g}; a share of the stimuli in (0, 1)")
        if study.probe.labels in [each.name for each in study.neural]:
            raise StudyError(f"study {called}: [probe] labels and neural data are both called {study.probe.labels!r}")
    if study.units is not None and study.units.n_top < 1:
        raise StudyError(f"study {called}: [units] n_top = {study.units.n_top}; at least 1")
    for name in study.units.networks if study.units else ():
        if name not in names:
            raise StudyError(f"study {called}: [units] networks: {name!r}{near(name, names)}")


def _check_options(options: RSAOptions, called: str) -> None:
    """Refuse measures that there are not, before anything is recorded."""
    from netphys.rsa.comparison import check_comparison
    from netphys.rsa.distances import check_method

    for key, value, check in (("rdm", options.rdm, check_method), ("compare", options.compare, check_comparison)):
        try:
            check(value)
        except OptionError as error:
            raise StudyError(f"study {called}: [rsa] {key}: {error}") from None
    if options.n_bootstraps < 0:
        raise StudyError(f"study {called}: [rsa] n_bootstraps = {options.n_bootstraps}; at least 0")
    if 0 < options.n_bootstraps < FEW:
        log.warning("intervals from %d draws of stimuli are rough; %d or more are wanted", options.n_bootstraps, FEW)
