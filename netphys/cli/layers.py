"""``netphys layers``: the layers of a network."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from netphys.cli.options import command, print_table

_ABOUT = """the layers of a network: name, kind, shape, stride, receptive field, parameters

In order of execution; the shape is that of one stimulus. Stride and receptive field are theoretical, in pixels of the
image that the network sees. A function that is no module is named after the module before it ('conv2:relu'). The names
are what --layers takes elsewhere, exactly or by pattern: 'features.*', 'kind:Conv2d', 'blocks[0:6:2]', 'leaves', 'all';
--match shows which layers a pattern means."""
_EXAMPLE = """  netphys layers torchvision:resnet18 --match 'layer?'
  netphys layers timm:vit_tiny_patch16_224 --out layers.csv"""
_RIGHT = {"stride", "field", "parameters"}  # columns of numbers
_WIDTH = 100  # columns of a terminal, for notes


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "layers", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument(
        "network", metavar="NETWORK", help="an address: torchvision:NAME, netphys:NAME, FILE.py:FUNCTION"
    )
    parser.add_argument(
        "--stimuli", metavar="ADDRESS", help="what the network looks at (default: noise of its own size)"
    )
    parser.add_argument("--match", nargs="+", metavar="PATTERN", help="show only the layers that these patterns mean")
    parser.add_argument("--out", metavar="FILE.csv", help="write the table, too, with all that is known of each layer")


def _run(options: argparse.Namespace) -> None:
    from netphys.networks import load_network
    from netphys.recording import layers
    from netphys.recording.listing import matching, save_layers

    stimuli = None
    if options.stimuli:
        from netphys.stimuli import load_stimuli

        stimuli = load_stimuli(options.stimuli, seed=options.seed or 0)
    network = load_network(options.network, seed=options.seed or 0)
    table = layers(network, stimuli)
    n_layers = len(table)
    if options.match:
        table = matching(table, options.match, network=network)
    if options.out:
        save_layers(table, options.out, network=network)
    notes: dict[str, int] = {}
    header = ("layer", "kind", "shape", "stride", "field", "parameters", "")
    _print_aligned(header, [_cells(row, notes) for row in table.to_dict("records")])
    sys.stdout.write(_below(table, n_layers, notes))
    sys.stdout.flush()


def _cells(row: Mapping[Any, Any], notes: dict[str, int]) -> tuple[str, ...]:
    """Write a row; what is long to say becomes the number of a note."""
    from netphys.networks.outputs import LayerName

    said = [row["note"]] if row["note"] else []
    if row["problem"]:
        said.append(f"cannot be recorded: {row['problem']}")
    numbers = [notes.setdefault(each, len(notes) + 1) for each in said]
    field = "whole" if row["whole"] else _pair(row["receptive_field"])
    return (
        row["name"],
        "" if LayerName.parse(row["name"]).function else row["kind"],  # the name says it
        " x ".join(map(str, row["shape"])),
        "" if row["whole"] else _pair(row["stride"]),
        field,
        f"{row['n_parameters']:,}" if row["n_parameters"] else "",
        " ".join(f"({each})" for each in numbers),
    )


def _pair(pair: Sequence[float] | None) -> str:
    """Write (y, x) as one number where they are equal."""
    if pair is None:
        return "?"
    return f"{pair[0]:g}" if pair[0] == pair[1] else f"{pair[0]:g} x {pair[1]:g}"


def _print_aligned(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table whose numbers end below each other; a function, which has no kind, may take that column, too."""
    every = [header, *rows]
    name = max(len(row[0]) for row in every if row[1])
    first = [row[0].ljust(name) + "  " + row[1] if row[1] else row[0] for row in every]
    widths = [max(len(row[at]) for row in every) for at in range(len(header))]
    numbers = [at for at, each in enumerate(header) if each in _RIGHT]
    aligned = [
        (one, *(row[at].rjust(widths[at]) if at in numbers else row[at] for at in range(2, len(row))))
        for one, row in zip(first, every)
    ]
    print_table(aligned[0], aligned[1:])


def _below(table: Any, n_layers: int, notes: dict[str, int]) -> str:
    """Say what stands below the table: how much there is, its units, what tokens are, notes."""
    from netphys.networks.fields import times

    of = f"{len(table)} of " if len(table) < n_layers else ""
    shown = f"{of}{n_layers} layer{'s' * (n_layers != 1)}"
    text = f"\n{shown}; the network has {table.attrs['n_parameters']:,} parameters\n"
    if table.attrs["image"]:
        text += f"stride, receptive field: pixels of the {times(table.attrs['image'])} image that the network sees"
        text += "; whole: all of it\n" if table["whole"].any() else "\n"
    of_tokens = [row for row in table.to_dict("records") if row["tokens"] and row["dims"] == ("unit", "token")]
    tokens = {(row["tokens"], row["grid"]) for row in of_tokens}
    mixed = {each for each in tokens if "+" in each[0]}  # a class token beside the patches
    for kinds, grid in sorted(mixed or tokens, key=str):
        text += f"tokens: {kinds}" + (f", patches in a grid of {times(grid)}" if grid else "") + "\n"
    wrapped = (textwrap.wrap(f"({n}) {note}", _WIDTH, subsequent_indent="    ") for note, n in notes.items())
    return text + "".join(f"{line}\n" for lines in wrapped for line in lines)
