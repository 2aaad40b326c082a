"""One progress bar a long call; none when nobody watches.

Bars go to stderr, only to a terminal or a notebook, never under :func:`quiet`. Every room draws its bars from here.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["bar", "quiet", "say"]

_QUIET: contextvars.ContextVar[bool] = contextvars.ContextVar("netphys_quiet", default=False)


def bar(total: int, *, label: str, unit: str = "stimulus") -> Any:
    """Open a progress bar (a context manager with ``update(n)``).

    Parameters
    ----------
    total : int
        How many units of work there are.
    label : str
        What is being done, as a user would say it.
    unit : str
        The unit of work, singular.
    """
    from tqdm.auto import tqdm

    return tqdm(total=total, desc=label, unit=f" {unit}", leave=False, disable=not _watched(), dynamic_ncols=True)


def say(line: str) -> None:
    """Say one line on stderr, unless quiet; for commands, not for library code (which logs)."""
    if not _QUIET.get():
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@contextmanager
def quiet(on: bool = True) -> Iterator[None]:
    """Draw no bars and say nothing inside the block."""
    token = _QUIET.set(on)
    try:
        yield
    finally:
        _QUIET.reset(token)


def _watched() -> bool:
    """Tell whether somebody sees a bar: a terminal, or a notebook (whose stderr is no terminal)."""
    return not _QUIET.get() and (sys.stderr.isatty() or "ipykernel" in sys.modules)
