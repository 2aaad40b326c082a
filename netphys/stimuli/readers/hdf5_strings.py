"""Strings of any length in a stranger's HDF5 file, read in a process of its own.

HDF5 loops for ever on some files whose heap of strings is damaged, and the loop cannot be left from inside; so a child
reads them, with limits of processor time and memory. It imports h5py alone.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["read_strings"]

_SECONDS = 0.5  # of processor time after the import; 10^5 strings take a tenth
_STRINGS_A_SECOND = 100_000
_WALL_SECONDS = 600  # where a disk sleeps
_BYTES = 4 << 30  # of memory


def read_strings(path: Path, names: list[str], n: int) -> dict[str, Any]:
    """Read datasets of `n` strings of any length; an array of str each.

    Raises
    ------
    FileError
        If they are damaged or not UTF-8.
    """
    import numpy as np

    from netphys.errors import FileError

    seconds = _SECONDS + n * len(names) / _STRINGS_A_SECOND
    command = [sys.executable, "-P", __file__, str(path), str(seconds), *names]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_WALL_SECONDS, check=True)
        found = json.loads(done.stdout)
    except (subprocess.SubprocessError, ValueError):
        listed = ", ".join(names[:3])
        raise FileError(f"{path}: the strings of {listed} cannot be read; they are damaged, or not UTF-8") from None
    return {name: np.array(found[name], dtype=object).reshape(n) for name in names}


def _limit(seconds: float) -> None:
    """Limit this process: what has no handler ends it, inside a library, too."""
    import resource
    from contextlib import suppress

    with suppress(ValueError, OSError):  # macOS does not limit addresses
        resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _main(path: str, seconds: str, *names: str) -> None:
    import h5py

    _limit(float(seconds))
    with h5py.File(path, "r") as file:
        found = {name: [each.decode() for each in file[name][()].reshape(-1)] for name in names}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    _main(*sys.argv[1:])
