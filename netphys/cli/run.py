"""``netphys run``: the whole study."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from netphys.cli.options import command
from netphys.progress import say

_ABOUT = """the whole study: train, record, look at units, probe, compare with neural data, write the page

Without STUDY the embedded one: three objectives teach a small network on generated scenes, which is then compared with
its untrained twin and a simulated cortex; no file is needed.
A second run computes nothing; one changed option computes what depends on it; a killed run goes on where it was."""
_EXAMPLE = """  netphys run
  netphys run examples/studies/kriegeskorte92.toml --set data=data --set rsa.n_bootstraps=200 --out kriegeskorte92"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = command(commands, "run", _run, about=_ABOUT, example=_EXAMPLE)
    parser.add_argument("study", nargs="?", metavar="STUDY.toml", help="a study file (default: the embedded study)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="settings",
        help="change a key of the study: rsa.n_bootstraps=200, networks.NAME.layers='[\"conv*\"]'; may be repeated",
    )
    parser.add_argument("--out", default="netphys-out", metavar="DIR", help="where results go (default: netphys-out)")
    parser.add_argument(
        "--force", action="store_true", help="compute everything anew, also in a folder of other things"
    )


def _run(options: argparse.Namespace) -> None:
    from netphys.studies import run_study

    started = time.monotonic()
    result = run_study(
        options.study,
        settings=options.settings,
        out=options.out,
        device=options.device,
        seed=options.seed,
        force=options.force,
    )
    computed = sum(not step.reused for step in result.steps)
    for line in result.findings():
        say(line)
    seconds = time.monotonic() - started
    say(f"{len(result.steps)} steps, {computed} computed, {len(result.steps) - computed} reused, {seconds:.1f} s")
    sys.stdout.write(f"{result.folder / 'index.html'}\n")
