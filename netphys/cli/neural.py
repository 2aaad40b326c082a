"""``netphys neural``: what was understood of neural data, how good they are, what would have to be said."""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from shlex import quote
from typing import Any

from netphys.cli.options import command
from netphys.errors import NetphysError, NeuralDataError, OutputError
from netphys.progress import say

_ABOUT = """what a file of neural data holds as netphys reads it, how reliable it is, and what is left to say

A file: BrainIO netCDF, NWB, MATLAB, .npy, .npz, CSV, HDF5, a folder of packed rasters; what is inside by query.
Also world:cortex (with --stimuli) and catalogue:NAME. Where the address does not say enough, what the file holds is
listed with addresses that would read it, and the exit code is 2."""
_EXAMPLE = """  netphys neural assembly.nc --out it.pdf
  netphys neural 'trials.npz?kind=responses&axes=neuroid,stimulus,repetition' --ids metadata.csv:file
  netphys neural 'session.nwb?window=70,170&stimulus=image' --to-netcdf it.nc"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "neural", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("address", metavar="FILE", help="neural data: a file, what is inside by query")
    parser.add_argument("--ids", metavar="FILE:COLUMN", help="the list that rows of files without ids follow")
    parser.add_argument("--stimuli", metavar="ADDRESS", help="what a simulated cortex is shown")
    parser.add_argument("--out", metavar="FIGURE.pdf", help="draw the data (PDF, PNG or SVG)")
    parser.add_argument("--csv", metavar="TABLE.csv", help="write a row a neuroid (of RDMs: a subject)")
    parser.add_argument("--to-netcdf", metavar="FILE.nc", help="write the assembly with BrainIO's names")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--force", action="store_true", help="replace other files of these names")


def _run(options: argparse.Namespace) -> int:
    try:
        return _told(options)
    except NetphysError as error:
        if options.json:  # programs read the standard output, whatever went wrong
            problem = {"address": options.address, "understood": False, "problem": str(error)}
            sys.stdout.write(json.dumps(problem, indent=1) + "\n")
        raise


def _told(options: argparse.Namespace) -> int:
    from netphys.neural.telling.understanding import understand

    if options.out:
        from netphys.figures import require_picture

        require_picture(options.out, force=options.force)  # said before large data are read
    for path in (options.csv, options.to_netcdf):
        if path:
            _require_free(Path(path), options.force)
    stimuli = None
    if options.stimuli:
        from netphys.stimuli import load_stimuli

        stimuli = load_stimuli(options.stimuli, seed=options.seed or 0)
    understood = _understood(understand, options, stimuli)
    sys.stdout.write(_as_json(understood) if options.json else _said(understood, options.ids))
    if understood.data is None:
        sys.stderr.write(f"netphys: {understood.problem}\n")
        return 2
    for made in _written(understood, options):
        say(f"wrote {made}")
    return 0


def _understood(understand: Any, options: argparse.Namespace, stimuli: Any) -> Any:
    """Understand the address; what Python's function takes as stimuli=, a command takes as --stimuli."""
    try:
        return understand(options.address, ids=options.ids, stimuli=stimuli, seed=options.seed or 0)
    except NeuralDataError as error:
        if "load_neural(..., stimuli=" not in str(error):
            raise
        raise NeuralDataError(
            re.sub(r"load_neural\(\.\.\., stimuli=[^)]*\).*", "--stimuli ADDRESS", str(error))
        ) from None


def _require_free(path: Path, force: bool) -> None:
    """Refuse to replace a file unless told to."""
    if path.exists() and not force:
        raise OutputError(f"{path} is there; choose another name, or --force replaces it")


def _written(understood: Any, options: argparse.Namespace) -> list[Path]:
    """Write what was asked for."""
    made: list[Path] = []
    if options.out:
        from netphys.figures import neural_figure, save_picture
        from netphys.provenance import provenance

        record = provenance("figures.neural_figure", {}, {"neural": understood.data.digest}, address=options.address)
        made.append(save_picture(neural_figure(understood), options.out, made=record, force=options.force)[0])
    if options.csv:
        from netphys.files import write_text

        made.append(write_text(Path(options.csv), understood.to_frame().to_csv(index=False)))
    if options.to_netcdf:
        from netphys.neural import write_assembly

        if understood.data.assembly is None:
            raise NeuralDataError(f"{options.address} is RDMs; --to-netcdf writes assemblies of responses")
        made.append(write_assembly(understood.data.assembly, options.to_netcdf))
    return made


def _said(understood: Any, ids: str | None) -> str:
    """Say what was understood, one fact a line; addresses to try as a shell takes them."""
    facts = understood.facts
    width = max(len(key) for key in facts)
    lines = [f"{key:<{width}}  {value}" for key, value in facts.items()]
    lines += [f"{'not said' if at == 0 else '':<{width}}  {each}" for at, each in enumerate(understood.unsaid)]
    lines += [
        f"{'try' if at == 0 else '':<{width}}  {_typed(each, ids)}" for at, each in enumerate(understood.suggestions)
    ]
    return "\n".join(lines) + "\n"


def _typed(suggestion: str, ids: str | None) -> str:
    """A suggestion as it is typed: the address in quotes, the list of ids that was said behind it."""
    address, wanted, column = suggestion.partition(" --ids ")
    return quote(address) + (f" --ids {column}" if wanted else f" --ids {quote(ids)}" if ids else "")


def _as_json(understood: Any) -> str:
    """What was understood, for programs."""
    facts = {key.strip(): value for key, value in understood.facts.items()}
    told = {"address": understood.address, "understood": understood.data is not None, "facts": facts}
    told |= {"problem": understood.problem, "not_said": understood.unsaid, "try": understood.suggestions}
    return json.dumps(told, indent=1) + "\n"
