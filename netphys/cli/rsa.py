"""``netphys rsa``: compare recordings with neural data."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from netphys.cli.options import command
from netphys.progress import say

_ABOUT = """compare the layers of recordings with neural data, as RDMs

Leaves rsa.csv (the tidy frame), figures and a page in DIR. Stimuli and data are joined by stimulus_id; a file of data
without ids is joined by order only to the list that --ids names."""
_EXAMPLE = """  netphys rsa rec.h5 --neural 'brain.mat?variable=RDMs' --ids images/metadata.csv:file --out rsa-out"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "rsa", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument(
        "recordings",
        nargs="+",
        metavar="REC.h5",
        help="recordings, or features from elsewhere (with --ids)",
    )
    parser.add_argument("--neural", required=True, metavar="FILE", help="neural data: a file, what is inside by query")
    parser.add_argument("--ids", metavar="FILE:COLUMN", help="the list that rows of files without ids follow")
    parser.add_argument(
        "--method", default="correlation", metavar="correlation|euclidean|cosine", help="how RDMs are made"
    )
    parser.add_argument(
        "--compare", default="spearman", metavar="spearman|corr|cosine|rho-a", help="how they are compared"
    )
    parser.add_argument("--n-bootstraps", type=int, default=1000, metavar="N", help="draws of stimuli (default: 1000)")
    parser.add_argument(
        "--groups", metavar="FILE:COLUMN", help="category of each stimulus; FILE has a column stimulus_id or file"
    )
    parser.add_argument("--layers", nargs="+", metavar="PATTERN", help="which layers (default: all)")
    parser.add_argument("--force", action="store_true", help="write also into a folder that holds other things")
    parser.add_argument("--out", required=True, metavar="DIR", help="where results go")


def _run(options: argparse.Namespace) -> None:
    from netphys.studies.comparing import compare_recordings

    made = compare_recordings(
        options.recordings,
        options.neural,
        ids=options.ids,
        method=options.method,
        compare=options.compare,
        n_bootstraps=options.n_bootstraps,
        groups=options.groups,
        layers=options.layers,
        force=options.force,
        out=options.out,
        seed=options.seed or 0,
    )
    for line in made.findings():
        say(line)
    sys.stdout.write(f"{made.folder / 'index.html'}\n")
