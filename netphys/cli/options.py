"""Options that all commands share, and how a mistaken line is answered: one line, exit code 2."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

__all__ = ["Parser", "command", "print_table"]


class Parser(argparse.ArgumentParser):
    """A parser that answers a mistake with one line; abbreviations of options are not guessed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        sys.stderr.write(f"netphys: {message}; '{self.prog} --help' has an example\n")
        sys.exit(2)


def command(commands: Any, name: str, call: Callable[[Any], int | None], *, about: str, example: str) -> Parser:
    """Add a command with the options that all share: --device, --seed, --quiet."""
    parser: Parser = commands.add_parser(
        name,
        help=about.splitlines()[0],
        description=about,
        epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(call=call)
    shared = parser.add_argument_group("shared options")
    shared.add_argument("--device", default=None, metavar="auto|cpu|cuda", help="where to compute (default: auto)")
    shared.add_argument(
        "--seed", type=_seed, default=None, metavar="N", help="one seed makes it repeatable (default: 0)"
    )
    shared.add_argument("--quiet", action="store_true", help="no progress, no words but errors")
    return parser


def _seed(text: str) -> int:
    """Read a seed: a whole number from 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0")
    return int(text)


def print_table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    """Print a table with aligned columns."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    for row in [header, *rows]:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() + "\n")
