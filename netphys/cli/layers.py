"""``netphys layers``: the layers of a network."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from netphys.cli.options import command, print_table

_ABOUT = """the layers of a network: name, kind, shape (of one stimulus), parameters, in order of execution

Their names are what --layers takes, exactly or by pattern: 'features.*', 'kind:Conv2d', 'blocks[0:6:2]', 'leaves',
'all'."""
_EXAMPLE = "  netphys layers torchvision:squeezenet1_1"


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "layers", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument(
        "network", metavar="NETWORK", help="an address: torchvision:NAME, netphys:NAME, FILE.py:FUNCTION"
    )
    parser.add_argument(
        "--stimuli", metavar="ADDRESS", help="what the network looks at (default: noise of its own size)"
    )


def _run(options: argparse.Namespace) -> None:
    from netphys.networks import load_network
    from netphys.recording import layers

    stimuli = None
    if options.stimuli:
        from netphys.stimuli import load_stimuli

        stimuli = load_stimuli(options.stimuli, seed=options.seed or 0)
    table = layers(load_network(options.network, seed=options.seed or 0), stimuli)
    columns = ("name", "kind", "shape", "n_parameters", "problem")
    rows = [
        (str(name), str(kind), " x ".join(str(size) for size in shape), f"{n:,}" if n else "", str(problem))
        for name, kind, shape, n, problem in zip(*(table[column] for column in columns))
    ]
    if any(row[-1] for row in rows):
        print_table(("layer", "kind", "shape", "parameters", "cannot be recorded:"), rows)
    else:
        print_table(("layer", "kind", "shape", "parameters"), [row[:-1] for row in rows])
    sys.stdout.flush()
