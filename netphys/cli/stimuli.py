"""``netphys stimuli``: what is shown, and a contact sheet of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from netphys.cli.options import command
from netphys.progress import say

_ABOUT = """what a set of stimuli holds, and a contact sheet of it

An address is a folder or a zip of images, an HDF5 file, a BrainIO CSV, a film, a text, torchvision:NAME?root=DIR,
world:scenes, or classic:NAME, the stimuli of physiology ('netphys stimuli classic' lists them). Every address takes
where=, variant= and treatment=."""
_EXAMPLE = """  netphys stimuli images/ --out sheet.png
  netphys stimuli 'classic:gratings?orientation=0:180:15&spatial_frequency=0.05,0.1&size=64' --out gratings.png
  netphys stimuli "images/?treatment=grey() | luminance(0.5, 0.2)" --to-hdf5 matched.h5"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "stimuli", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("stimuli", metavar="ADDRESS", help="images/, images.h5, world:scenes?n=100, classic:gratings")
    parser.add_argument("--out", metavar="SHEET.png", help="draw a contact sheet (PNG, PDF or SVG)")
    parser.add_argument("--n", type=int, default=60, metavar="N", help="stimuli on the sheet (default: 60)")
    parser.add_argument("--columns", type=int, metavar="N", help="stimuli in a row (default: 12 images)")
    parser.add_argument("--caption", metavar="COLUMN", help="write a column of the metadata below each stimulus")
    parser.add_argument("--field", metavar="FIELD", help="what is drawn (default: image, else pair, clip, text, sound)")
    parser.add_argument("--to-hdf5", metavar="SET.h5", help="write the set into one HDF5 file of the same digest")
    parser.add_argument("--skip-broken", action="store_true", help="leave out stimuli that cannot be decoded")
    parser.add_argument("--force", action="store_true", help="replace other files of these names")


def _run(options: argparse.Namespace) -> None:
    from netphys.stimuli import load_stimuli

    if options.stimuli == "classic":
        sys.stdout.write(_classic())
        return
    from netphys.figures import require_picture

    if options.out:
        require_picture(options.out, force=options.force)  # said before a large set is read
    stimuli = load_stimuli(options.stimuli, seed=options.seed or 0, skip_broken=options.skip_broken)
    if options.out:
        _sheet(stimuli, options)
    if options.to_hdf5:
        stimuli.to_hdf5(options.to_hdf5, force=options.force)
    sys.stdout.write(_said(stimuli))
    for made in (options.out, options.to_hdf5):
        if made:
            say(f"wrote {Path(made)}")


def _sheet(stimuli: Any, options: argparse.Namespace) -> None:
    """Draw the contact sheet."""
    from netphys.figures import save_picture, sheet_figure
    from netphys.provenance import provenance

    drawn = {"n": options.n, "columns": options.columns, "caption": options.caption, "field": options.field}
    figure = sheet_figure(stimuli, **drawn)
    made = provenance("figures.sheet_figure", drawn, {"stimuli": stimuli.digest}, address=options.stimuli)
    save_picture(figure, options.out, made=made, force=options.force)


def _said(stimuli: Any) -> str:
    """Say what a set holds, one fact a line."""
    from netphys.stimuli.summary import summary

    facts = summary(stimuli)
    width = max(len(key) for key in facts)
    return "".join(f"{key:<{width}}  {value}\n" for key, value in facts.items())


def _classic() -> str:
    """List the classic stimuli: what each is, and its options with their defaults."""
    import inspect
    import textwrap

    from netphys.stimuli.classic import CLASSIC

    lines = []
    for name, make in CLASSIC.items():
        options = (f"{key}={_default(each.default)}" for key, each in inspect.signature(make).parameters.items())
        lines.append(f"classic:{name:<16}{(inspect.getdoc(make) or name).splitlines()[0]}")
        lines += textwrap.wrap(", ".join(options), 96, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
