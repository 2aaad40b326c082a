"""Releases of libraries that decide what is drawn: a generator's numbers may change from one to the next."""

from __future__ import annotations

from importlib import metadata

__all__ = ["releases"]


def releases(*names: str) -> dict[str, str]:
    """Return the release, major.minor, of libraries that are installed, for the digest of what they draw.

    Examples
    --------
    >>> sorted(releases("numpy", "torch"))
    ['numpy', 'torch']
    """
    return {name: ".".join(metadata.version(name).split(".")[:2]) for name in names}
