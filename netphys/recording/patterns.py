"""Layer patterns: which layers are meant.

=======================  =====================================================================================
``features.3``           that layer, exactly; ``relu#2`` its second call, ``conv2:relu`` a function after it
``features.*``           a glob: ``*`` and ``?`` stay within a name, ``**`` crosses dots and colons
``**:relu``              every function of that name after a module, the first each; ``**:relu*`` all of them
``kind:Conv2d``          every layer whose module is of that class; ``kind:relu`` every such function
``blocks[0:6:2]``        children of a module, by slice; ``blocks[-1]`` the last one
``blocks[0:6:2].attn``   what a pattern means in each of them
``leaves``               every layer whose module has no children, and every function
``all``                  every layer
``output``               what the network returns
=======================  =====================================================================================

What attention computes (``blocks.0.attn:attention``, ``:query``, ``:key``, ``:value``) is large, and only meant by a
pattern with a colon in it: ``**:attention``, ``blocks[-1].attn:*``, ``kind:attention``. A name always means itself,
whatever marks are in it. The result is in order of execution, whatever the order of the patterns.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from netphys.errors import LayerNotFound, near
from netphys.networks.attention import ATTENTION
from netphys.networks.functions import FUNCTIONS
from netphys.networks.outputs import LayerName

if TYPE_CHECKING:
    import torch

__all__ = ["Named", "aliases_in", "match_layers", "may_match", "may_mean_functions", "not_an_alias", "path_in"]

_SLICE = re.compile(r"^(?P<path>[^\[\]]+)\[(?P<slice>-?\d*:-?\d*(?::-?\d*)?|-?\d+)\](?P<tail>(?:[.:#/].*)?)$")
_FUNCTIONS = {name for names in FUNCTIONS.values() for name in names} | set(ATTENTION)


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
    sliced = None if pattern.startswith("kind:") else _SLICE.match(pattern)
    if not sliced:
        return _test(pattern)
    literal = _test(pattern)
    if sliced["tail"]:
        child = may_match(f"{sliced['path']}.*{sliced['tail']}")
        return lambda layer: literal(layer) or child(layer)
    parent = _glob(sliced["path"])
    return lambda layer: literal(layer) or _is_child(layer.name, parent)


def may_mean_functions(pattern: str) -> bool:
    """Tell whether a pattern may match what is no module's output."""
    if pattern.startswith("kind:"):
        return pattern.removeprefix("kind:") in _FUNCTIONS
    sliced = _SLICE.match(pattern)
    if sliced:
        return may_mean_functions(f"{sliced['path']}{sliced['tail']}")
    return pattern in ("all", "leaves") or "**" in pattern or ":" in pattern


def path_in(name: str, paths: Collection[str]) -> str | None:
    """Find the module that a name is of, whatever marks its path holds; None where there is none.

    Examples
    --------
    >>> path_in("a/b#2:relu", ["a", "a/b"]), path_in("c", ["a"])
    ('a/b', None)
    """
    ends = [index for index, mark in enumerate(name) if mark in "#:/"]
    return next((name[:end] for end in [len(name), *reversed(ends)] if name[:end] in paths), None)


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
    path = path_in(pattern, aliases)
    if path is not None:
        own = aliases[path]
        calls = [name for name in names if path_in(name, [own])] or [own]
        raise LayerNotFound(f"{path!r} is the same module as {own!r}; its calls are {', '.join(calls)}")


def _matching(pattern: str, table: Sequence[Named]) -> list[str]:
    names = [layer.name for layer in table]
    if pattern in names:
        return [pattern]
    sliced = None if pattern.startswith("kind:") else _SLICE.match(pattern)
    children = _children(sliced["path"], names) if sliced else []
    if sliced and (children or ":" in sliced["slice"]):  # ``conv[12]``, where `conv` has no children, is a glob
        chosen = children[_slice(sliced["slice"])]
        tails = [sliced["tail"]] if sliced["tail"] else ["", "#*", "/**"]  # all that a child returns
        found = {name for child in chosen for tail in tails for name in _matching(child + tail, table)}
        return [name for name in names if name in found]
    return [layer.name for layer in filter(_test(pattern), table)]


def _test(pattern: str) -> Callable[[Named], bool]:
    """Compile a pattern without slices. A name means itself, also one that looks like another pattern."""
    if pattern == "all":
        return lambda layer: layer.name == pattern or not _is_attention(layer)
    if pattern == "leaves":
        return lambda layer: layer.name == pattern or (layer.is_leaf and not _is_attention(layer))
    if pattern.startswith("kind:"):
        kind = pattern.removeprefix("kind:")
        return lambda layer: pattern == layer.name or layer.kind == kind
    glob, colon = _glob(pattern), ":" in pattern
    return lambda layer: layer.name == pattern or (glob(layer.name) and (colon or not _is_attention(layer)))


def _is_attention(layer: Named) -> bool:
    return layer.kind in ATTENTION and ":" in layer.name


def _slice(text: str) -> slice:
    """Parse what stands in brackets; one number is a slice of one."""
    parts = [int(part) if part else None for part in text.split(":")]
    if len(parts) > 1:
        return slice(*parts)
    return slice(parts[0], None if parts[0] == -1 else (parts[0] or 0) + 1)


def _children(path: str, names: list[str]) -> list[str]:
    """List the children of a module, in the order of their first execution."""
    below = [name.removeprefix(f"{path}.").partition(".")[0] for name in names if name.startswith(f"{path}.")]
    return [f"{path}.{child}" for child in dict.fromkeys(LayerName.parse(each).path for each in below)]


def _is_child(name: str, parent: Callable[[str], bool]) -> bool:
    """Tell whether a layer is what a child of a module returned."""
    parsed = LayerName.parse(name)
    return parent(parsed.path.rpartition(".")[0]) and not parsed.function


def _glob(pattern: str) -> Callable[[str], bool]:
    """Compile a glob: ``**`` crosses dots and colons, ``*`` and ``?`` do not."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\]:]+\])", pattern)
    known = {"**": ".*", "*": "[^.:]*", "?": "[^.:]"}
    known.update((part, part) for part in parts if part.startswith("[") and part.endswith("]"))
    try:
        compiled = re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.DOTALL)
    except re.error:  # ``[z-a]``: no class of characters
        return lambda name: False
    return lambda name: compiled.fullmatch(name) is not None


def _not_found(pattern: str, table: Sequence[Named], network: str) -> str:
    if pattern.startswith("kind:"):
        kinds = sorted({layer.kind for layer in table})
        kind = pattern.removeprefix("kind:")
        return f"no layer of kind {kind!r} in {network}{near(kind, kinds) or '; kinds: ' + ', '.join(kinds)}"
    names = [layer.name for layer in table]
    tail = near(pattern, names) or f"; its {len(names)} layers are {names[0]!r} to {names[-1]!r}"
    return f"no layer {pattern!r} in {network}{tail}; 'netphys layers {network}' lists all"
