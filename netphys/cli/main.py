"""``netphys COMMAND``: reads the line, calls one Python function, says what came out.

Nothing heavy is imported before a command runs, so ``--help`` answers at once. A mistake of the user is one line and
exit code 2; anything else is a bug and shows its traceback.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from netphys._version import __version__
from netphys.cli.options import Parser
from netphys.errors import NetphysError
from netphys.progress import quiet

__all__ = ["main", "make_parser"]

log = logging.getLogger("netphys")

_COMMANDS = (
    "run", "train", "stimuli", "data", "neural", "layers", "record", "merge", "units", "probe", "rsa", "info",
    "verify", "doctor",
)  # fmt: skip
_ABOUT = """electrophysiology for deep nets, and the bridge to the real one

A network is trained or brought along and shown stimuli; its units are looked at, its layers are recorded, probed and
compared with neural data; figures, numbers and a page are left behind. 'netphys run' does all of it, without any file,
in a few minutes."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of all commands."""
    parser = Parser(
        prog="netphys",
        description=_ABOUT,
        epilog="example:\n  netphys run --out my-first-study\n\n'netphys COMMAND --help' has an example of each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"netphys {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", parser_class=Parser)
    for name in _COMMANDS:
        importlib.import_module(f"netphys.cli.{name}").add(commands)
    _add_completion(parser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0 done, 2 a mistake of the user, 130 interrupted."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    logging.basicConfig(level=logging.ERROR if options.quiet else logging.WARNING, format="netphys: %(message)s")
    try:
        with quiet(options.quiet), _plain_warnings():
            if options.device is not None:
                from netphys.devices import resolve_device

                resolve_device(options.device)  # a device that is not there is said by every command
            return int(options.call(options) or 0)
    except NetphysError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        resumes = options.command in ("run", "train", "record")
        return _refuse("interrupted" + ("; the same command goes on where it stopped" * resumes), code=130)
    except BrokenPipeError:  # the reader of our output has gone: `netphys layers ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            return _refuse(f"{error.strerror}: {error.filename or 'the disk'}")
        raise


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Say a warning as one line of ours, not as a place in the source."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: log.warning("%s", message)
        yield


def _refuse(message: str, *, code: int = 2) -> int:
    sys.stderr.write(f"netphys: {' '.join(message.split())}\n")
    return code


def _add_completion(parser: argparse.ArgumentParser) -> None:
    """``netphys --print-completion bash``; shtab is only imported then."""
    parser.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "tcsh"),
        action=_PrintCompletion,
        help="print the completion of a shell, to be sourced by it",
    )


class _PrintCompletion(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *ignored: object) -> None:
        import shtab

        sys.stdout.write(shtab.complete(parser, shell=str(ignored[1])))
        parser.exit(0)


if __name__ == "__main__":
    sys.exit(main())
