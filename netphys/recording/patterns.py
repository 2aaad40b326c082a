"""Layer patterns: which layers are meant.

=================  ====================================================================================
``features.3``     that layer, exactly; ``relu#2`` its second call
``features.*``     a glob: ``*`` and ``?`` stay within a name, ``**`` crosses the dots
``kind:Conv2d``    every layer whose module is of that class
``blocks[0:6:2]``  children of a module, by slice
``leaves``         every layer whose module has no children
``all``            every layer
=================  ====================================================================================

The result is in order of execution, whatever the order of the patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from netphys.errors import LayerNotFound, near
from netphys.networks.outputs import LayerName

if TYPE_CHECKING:
    import torch

__all__ = ["Named", "aliases_in", "match_layers", "may_match", "not_an_alias"]

_SLICE = re.compile(r"^(?P<path>.+)\[(?P<slice>-?\d*:-?\d*(?::-?\d*)?)\]$")


class Named(Protocol):
    """What a pattern looks at."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def is_leaf(self) -> bool: ...


def match_layers(
    patterns: str | Sequence[str], table: Sequence[Named], *, network: str, aliases: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Select layers by patterns.

    Parameters
    ----------
    patterns : str or sequence of str
        See the module's table.
    table : sequence
        The layers, in order of execution.
    network : str
        What messages call the network.
    aliases : mapping of str to str, optional
        Other paths of modules that have several: see :func:`aliases_in`.

    Returns
    -------
    tuple of str
        Names, in order of execution, each once.

    Raises
    ------
    LayerNotFound
        If a pattern matches nothing; near names are listed.
    """
    wanted: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else list(patterns):
        found = _matching(pattern, table)
        if not found:
            not_an_alias(pattern, aliases or {}, [layer.name for layer in table])
            raise LayerNotFound(_not_found(pattern, table, network))
        wanted.update(found)
    if not wanted:
        raise LayerNotFound(f"no layer asked for in {network}; say layers=['leaves'] for all of them")
    return tuple(layer.name for layer in table if layer.name in wanted)


def may_match(pattern: str) -> Callable[[Named], bool]:
    """Compile a pattern to a test of one layer. Of a slice, which needs the whole table, it lets every child pass."""
    if pattern == "all":
        return lambda layer: True
    if pattern == "leaves":
        return lambda layer: layer.is_leaf
    if pattern.startswith("kind:"):
        return lambda layer: layer.kind == pattern.removeprefix("kind:")
    sliced, glob = _SLICE.match(pattern), _glob(pattern)
    if sliced:
        return lambda layer: layer.name == pattern or layer.name.startswith(f"{sliced['path']}.")
    return lambda layer: layer.name == pattern or glob(layer.name)


def aliases_in(module: torch.nn.Module) -> dict[str, str]:
    """Map the further paths of modules that have several (``b = self.a``) to the first, which names their layers."""
    first: dict[int, str] = {}
    paths = [(path, first.setdefault(id(each), path)) for path, each in module.named_modules(remove_duplicate=False)]
    return {path: own for path, own in paths if path != own}


def not_an_alias(pattern: str, aliases: Mapping[str, str], names: Sequence[str] = ()) -> None:
    """Refuse a pattern that names a module by a path that its layers are not called by.

    Raises
    ------
    LayerNotFound
        Saying what they are called.
    """
    path = LayerName.parse(pattern).path
    if path in aliases:
        own = aliases[path]
        calls = [name for name in names if LayerName.parse(name).path == own] or [own]
        raise LayerNotFound(f"{path!r} is the same module as {own!r}; its calls are {', '.join(calls)}")


def _matching(pattern: str, table: Sequence[Named]) -> list[str]:
    names = [layer.name for layer in table]
    if pattern in names:
        return [pattern]
    sliced = _SLICE.match(pattern)
    if sliced and not pattern.startswith("kind:"):
        return _children(sliced["path"], sliced["slice"], names)
    return [layer.name for layer in filter(may_match(pattern), table)]


def _children(path: str, text: str, names: list[str]) -> list[str]:
    """Slice the children of a module, in the order of their first execution."""
    start, stop, *step = (int(part) if part else None for part in text.split(":"))
    below = [LayerName.parse(name).path.removeprefix(f"{path}.") for name in names if name.startswith(f"{path}.")]
    children = list(dict.fromkeys(each.split(".")[0] for each in below))
    chosen = {f"{path}.{child}" for child in children[slice(start, stop, *step)]}
    return [name for name in names if LayerName.parse(name).path in chosen]


def _glob(pattern: str) -> Callable[[str], bool]:
    """Compile a glob: ``**`` crosses dots, ``*`` and ``?`` do not."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\]:]+\])", pattern)
    known = {"**": ".*", "*": "[^.]*", "?": "[^.]"}
    known.update((part, part) for part in parts if part.startswith("[") and part.endswith("]"))
    compiled = re.compile("".join(known.get(part, re.escape(part)) for part in parts))
    return lambda name: compiled.fullmatch(name) is not None


def _not_found(pattern: str, table: Sequence[Named], network: str) -> str:
    if pattern.startswith("kind:"):
        kinds = sorted({layer.kind for layer in table})
        kind = pattern.removeprefix("kind:")
        return f"no layer of kind {kind!r} in {network}{near(kind, kinds) or '; kinds: ' + ', '.join(kinds)}"
    names = [layer.name for layer in table]
    tail = near(pattern, names) or f"; its {len(names)} layers are {names[0]!r} to {names[-1]!r}"
    return f"no layer {pattern!r} in {network}{tail}; 'netphys layers {network}' lists all"
