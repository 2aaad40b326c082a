"""``netphys data``: public neural data by name: what there is, fetched, cited."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from netphys.cli.options import command, print_table
from netphys.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from netphys.neural.catalogue import Entry

_ABOUT = """public neural data by name: list, show, fetch, cite

  list            every set: regions, species, stimuli, size, licence, whether it is here
  show NAME ...   all that the catalogue says of a set, its traps too
  fetch NAME ...  bring sets here, into $NETPHYS_DATA or the user's cache; checked, once, whole or not at all
  cite NAME ...   the references, --bibtex for BibTeX

A set that is here is read by the address catalogue:NAME wherever neural data are asked for. $NETPHYS_CATALOGUE names a
catalogue of your own sets."""
_EXAMPLE = """  netphys data list
  netphys data fetch kriegeskorte2008
  netphys data cite kriegeskorte2008 --bibtex >> paper.bib
  netphys neural 'catalogue:kriegeskorte2008?part=human'"""
_TAKES = {"list": ("into", "json"), "show": ("into", "json"), "fetch": ("into", "force"), "cite": ("bibtex",)}
_WIDTH = 100  # columns of what show writes


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "data", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("action", metavar="ACTION", choices=tuple(_ACTIONS), help="list, show, fetch or cite")
    parser.add_argument("names", metavar="NAME", nargs="*", help="names of sets ('netphys data list')")
    parser.add_argument("--into", metavar="DIR", help="fetch into DIR/NAME; list looks there too")
    parser.add_argument("--force", action="store_true", help="fetch again what is here; refused if the source changed")
    parser.add_argument("--bibtex", action="store_true", help="cite as BibTeX")
    parser.add_argument("--json", action="store_true", help="list or show as JSON")


def _run(options: argparse.Namespace) -> None:
    _require_fitting(options)
    _ACTIONS[options.action](options)


def _require_fitting(options: argparse.Namespace) -> None:
    """Refuse what an action would not look at."""
    action = options.action
    takes = {"list": ("into", "json"), "show": ("json", "into"), "fetch": ("into", "force"), "cite": ("bibtex",)}[
        action
    ]
    for option in ("into", "force", "bibtex", "json"):
        if getattr(options, option) and option not in takes:
            raise OptionError(f"data {action} takes no --{option}; {', '.join('--' + each for each in takes)}")
    if action == "list" and options.names:
        raise OptionError(f"data list takes no name; 'netphys data show {options.names[0]}' says all of one set")
    if action != "list" and not options.names:
        raise OptionError(f"data {action} needs the name of a set; 'netphys data list' lists them")


def _list(options: argparse.Namespace) -> None:
    from netphys.neural.catalogue import read_catalogue

    facts = [_facts(entry, options.into) for entry in read_catalogue()]
    if options.json:
        sys.stdout.write(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return
    header = ("name", "regions", "species", "stimuli", "size", "licence", "here")
    print_table(header, [tuple(_cell(key, each) for key in header) for each in facts])


def _show(options: argparse.Namespace) -> None:
    from netphys.neural.catalogue import read_catalogue

    catalogue = read_catalogue()
    facts = [_facts(catalogue[name], options.into, every=True) for name in options.names]
    if options.json:
        sys.stdout.write(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        return
    sys.stdout.write("\n".join(_page(each) for each in facts))


def _fetch(options: argparse.Namespace) -> None:
    from netphys.neural.catalogue import fetch, read_catalogue

    catalogue = read_catalogue()
    for name in options.names:
        catalogue[name]  # a misspelt name is said before the first is fetched
    for name in options.names:
        sys.stdout.write(f"{fetch(name, into=options.into, force=options.force, catalogue=catalogue)}\n")
        sys.stdout.flush()


def _cite(options: argparse.Namespace) -> None:
    from netphys.neural.catalogue import bibtex, citation, read_catalogue

    catalogue = read_catalogue()
    write, between = (bibtex, "\n\n") if options.bibtex else (citation, "\n")
    sys.stdout.write(between.join(write(catalogue[name]) for name in options.names) + "\n")


_ACTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "list": _list,
    "show": _show,
    "fetch": _fetch,
    "cite": _cite,
}


def _facts(entry: Entry, into: str | None, *, every: bool = False) -> dict[str, Any]:
    """Gather what is said of a set."""
    from netphys.neural.catalogue import citation, data_folder, is_fetched

    facts: dict[str, Any] = {
        "name": entry.name,
        "title": entry.title,
        "regions": entry.regions,
        "species": entry.species,
        "stimuli": entry.stimuli,
        "neuroids": entry.neuroids,
        "subjects": entry.subjects,
        "kind": entry.kind,
        "access": entry.access,
        "size": entry.bytes,
        "licence": entry.licence,
        "here": is_fetched(entry, into=into),
    }
    if not every:
        return facts
    return facts | {
        "folder": str(data_folder(into) / entry.name),
        "homepage": entry.homepage,
        "how": f"{entry.how} ({entry.page})" if entry.how else "",
        "address": _said(entry.name),
        "parts": [f"{_said(entry.name)}?part={part}" for part in entry.parts],
        "files": [_file(each) for each in entry.files],
        "cite": citation(entry).splitlines(),
        "notes": entry.notes,
        "seen": entry.seen,
    }


def _said(name: str) -> str:
    return f"catalogue:{name}"


def _file(file: Any) -> str:
    """Say where a file comes from and by what it is known."""
    known = f"{file.checksum} by {file.checksum_source}" if file.checksum else "no source gives a checksum"
    return f"{file.filename} from {' or '.join(file.urls)} ({known}; address read in {file.found_in})"


def _cell(key: str, facts: dict[str, Any]) -> str:
    """Write one cell of the list."""
    value = facts[key]
    if key == "size":
        by_hand = {"page": "by hand", "apply": "apply"}.get(facts["access"], "?")
        return by_hand if value is None else f"{value / 1e6:.1f} MB"
    if key == "here":
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value)


def _page(facts: dict[str, Any]) -> str:
    """Write all that is said of a set, one fact a paragraph."""
    lines = []
    for key, value in facts.items():
        shown = _cell(key, facts) if key in ("size", "here", "regions") else value
        for item in shown if isinstance(shown, list) else [shown]:
            if item:
                lines += textwrap.wrap(
                    str(item),
                    _WIDTH,
                    initial_indent=f"{key:<10}",
                    subsequent_indent=" " * 10,
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            key = ""
    return "\n".join(lines) + "\n"
