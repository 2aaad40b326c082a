"""RDMs of recordings, neural assemblies and arrays, with descriptors that say what they are of."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.errors import LayerNotFound, MatchError, NeuralDataError, OptionError, near
from netphys.matching import require_unique
from netphys.neural import NeuralData, average_repetitions
from netphys.rsa.distances import check_method, dissimilarities_of_blocks
from netphys.rsa.gram import BLOCK_BYTES, feature_blocks

if TYPE_CHECKING:
    from jaxtyping import Float
    from rsatoolbox.rdm import RDMs

__all__ = ["rdms"]

_MEASURE = {"correlation": "correlation", "euclidean": "squared euclidean", "cosine": "cosine"}  # rsatoolbox's names


@dataclass(frozen=True)
class _Source:
    """One set of patterns to make an RDM of."""

    what: str  # for messages
    blocks: Iterable[np.ndarray]  # (stimulus, some units)
    descriptors: Mapping[str, Any]


_Found = tuple[list[str] | None, list[_Source]]  # stimulus ids, if any, and what to make RDMs of


def rdms(
    x: Any,
    *,
    method: str = "correlation",
    stimulus_ids: Sequence[object] | None = None,
    layers: Sequence[str] | None = None,
) -> RDMs:
    """Compute representational dissimilarity matrices.

    Parameters
    ----------
    x : Recording, NeuralData, assembly, array or dict
        What RDMs are made of:

        - a :class:`netphys.recording.Recording`: one RDM a layer, of all its units at all positions;
        - :class:`netphys.neural.NeuralData`: their RDMs as they are, whatever `method`, else those of their assembly;
        - an assembly (DataArray, presentation x neuroid): one RDM an animal, of its neuroids, each stimulus averaged
          over its repetitions (missing ones left out), stimuli in order of first appearance;
        - an array (stimulus, unit), or a dict of such arrays by name: one RDM each.
    method : {"correlation", "euclidean", "cosine"}
        The dissimilarity of patterns x, y of P units. ``correlation``: ``1 - r(x, y)`` over units. ``euclidean``:
        ``|x - y|² / P``, squared and divided as in rsatoolbox. ``cosine``: ``1 - x·y / (|x| |y|)``.
    stimulus_ids : sequence, optional
        The ids that the rows of an array follow. Without them the RDM carries none, and is compared by position. What
        carries ids of its own takes no others.
    layers : sequence of str, optional
        Layers of a recording, or names of a dict; all of them by default.

    Returns
    -------
    rsatoolbox.rdm.RDMs
        ``pattern_descriptors``: ``stimulus_id``. ``rdm_descriptors``: ``network``, ``training``, ``layer``,
        ``layer_index`` (the place in the network where the recording knows it, else in the recording), ``n_units`` of
        a recording; ``subject``, ``region``, ``n_units`` of an assembly; ``subject``, ``region``, ``dataset`` of
        NeuralData that are RDMs; ``n_units`` of an array, with ``layer``, ``layer_index`` where it has a name.

    Raises
    ------
    OptionError, LayerNotFound, MatchError, NeuralDataError
        For an unknown method or layer, ids that do not fit, a single stimulus, or an assembly that has no stimulus_id
        or has time bins.

    Warns
    -----
    UserWarning
        Names stimuli whose pattern is constant or not finite: their dissimilarities are NaN, never 0 or 1. Of an
        assembly whose neuroids are of several regions: they are mixed in one RDM.

    Notes
    -----
    Units are read in blocks, products are summed in float64: memory is that of n² products and one block.

    Examples
    --------
    >>> patterns = np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0], [1.0, 2.0, 4.0]])
    >>> rdms(patterns, stimulus_ids=["cat", "dog", "car"]).get_vectors().round(4).tolist()
    [[2.0, 0.018, 1.982]]
    """
    check_method(method)
    if isinstance(x, NeuralData):
        if x.kind == "rdms":
            _refuse_others(x.stimulus_ids, stimulus_ids, layers)
            return x.to_rdms()
        if x.kind == "behaviour":
            raise NeuralDataError(
                f"{x.name} is behaviour, presentation x choice; netphys.neural.behaviour makes RDMs of confusions"
            )
        x = x.assembly
    ids, sources = _sources(x, stimulus_ids, layers)
    rows = [dissimilarities_of_blocks(each.blocks, method, stimulus_ids=ids, what=each.what) for each in sources]
    counted = [{"n_units": n_units, **each.descriptors} for each, (_, n_units) in zip(sources, rows)]
    descriptors = {key: [each[key] for each in counted] for key in counted[0]}
    return _packed(np.array([values for values, _ in rows]), method, descriptors, ids)


def _packed(values: Float[np.ndarray, "rdm pair"], method: str, descriptors: dict[str, Any], ids: Any) -> RDMs:
    """Put dissimilarities into rsatoolbox's RDMs."""
    from rsatoolbox.rdm import RDMs

    return RDMs(
        values,
        dissimilarity_measure=_MEASURE[method],
        rdm_descriptors=descriptors,
        pattern_descriptors=None if ids is None else {"stimulus_id": list(ids)},
    )


def _sources(x: Any, ids: Sequence[object] | None, layers: Sequence[str] | None) -> _Found:
    """Find what `x` is: its stimulus ids, and the patterns to make RDMs of."""
    if hasattr(x, "unit_blocks"):
        found, sources = _of_recording(x, layers)
        layers = None
    elif "presentation" in getattr(x, "dims", ()):
        found, sources = _of_assembly(x)
    else:
        return _of_arrays(x, ids, layers)
    _refuse_others(found, ids, layers)
    if not sources:
        raise OptionError("no layer to make an RDM of: the recording has none")
    return found, sources


def _refuse_others(found: Sequence[str], ids: Sequence[object] | None, layers: Sequence[str] | None) -> None:
    """Refuse ids other than those that were found, and layers of what has none."""
    if ids is not None and [str(each) for each in ids] != list(found):
        raise MatchError("stimulus_ids= differ from those that x carries; leave them out")
    if layers is not None:
        raise OptionError("layers= chooses from a recording or a dict of arrays; neural data have none, leave it out")


def _of_recording(recording: Any, layers: Sequence[str] | None) -> tuple[list[str], list[_Source]]:
    """Take the layers of a recording, in its order."""
    wanted = _chosen(layers, recording.layers)
    place = getattr(recording, "layer_index", list(recording.layers).index)  # in the network, where that is known
    sources = [
        _Source(
            f"layer {layer!r} of {recording.name}",
            recording.unit_blocks(layer, max_bytes=BLOCK_BYTES),
            {
                "network": recording.name,
                "training": recording.training,
                "layer": layer,
                "layer_index": place(layer),
                "n_units": recording.shape(layer)[1],  # units, at however many positions each
            },
        )
        for layer in wanted
    ]
    return require_unique(recording.stimulus_ids, what=f"the recording of {recording.name}"), sources


def _of_arrays(x: Any, ids: Sequence[object] | None, layers: Sequence[str] | None) -> _Found:
    """Take an array, or arrays by name, of the same stimuli."""
    named = {str(key): np.asarray(value) for key, value in x.items()} if isinstance(x, Mapping) else {"": np.asarray(x)}
    if layers is not None or isinstance(x, Mapping):
        named = {name: named[name] for name in _chosen(layers, list(named))}
    names = None if ids is None else require_unique(ids, what="stimulus_ids")
    first = next(iter(named.values()), np.empty(0))
    sources = []
    for index, (name, patterns) in enumerate(named.items()):
        what = f"{name!r}" if name else "the patterns"
        if patterns.ndim != 2 or patterns.dtype.kind not in "fiub":
            raise OptionError(
                f"{what} must be numbers, stimulus x unit; got {patterns.dtype} of shape {patterns.shape}"
                + ("; flatten with x.reshape(len(x), -1)" if patterns.ndim > 2 else "")
            )
        n_ids = len(first) if names is None else len(names)
        if len(patterns) != n_ids:
            raise MatchError(f"{what} has {len(patterns)} rows, there are {n_ids} stimuli")
        descriptors = {"layer": name, "layer_index": index} if name else {}
        sources.append(_Source(what, feature_blocks(patterns), descriptors))
    if not sources:
        raise OptionError("no array to make an RDM of: the dict is empty")
    return names, sources


def _of_assembly(assembly: Any) -> tuple[list[str], list[_Source]]:
    """Average repetitions and take the neuroids of one animal at a time."""
    extra = [dim for dim in assembly.dims if dim not in ("presentation", "neuroid")]
    if extra and any(assembly.sizes[dim] != 1 for dim in extra):
        raise NeuralDataError(
            f"the assembly has {assembly.sizes[extra[0]]} of {extra[0]}; take one value first: ?window=70,170 in its "
            f"address, or assembly.mean({extra[0]!r})"
        )
    if "neuroid" not in assembly.dims:
        raise NeuralDataError(f"the assembly has dims {tuple(assembly.dims)}, not presentation x neuroid")
    if "stimulus_id" not in assembly.coords:
        raise NeuralDataError("the assembly has no coordinate stimulus_id on presentation; stimuli are joined by it")
    ids, averaged = average_repetitions(assembly.squeeze(extra, drop=True))
    animals = _neuroid_names(assembly, "animal", "all neuroids")
    regions = _neuroid_names(assembly, "region", "")
    sources = []
    for animal in dict.fromkeys(animals):
        rows = np.flatnonzero(animals == animal)
        region = "+".join(dict.fromkeys(regions[rows]))
        if "+" in region:
            warnings.warn(
                f"one RDM of subject {animal!r} holds neuroids of {region}; choose one by ?region= in the address, or "
                "netphys.neural.select(assembly, regions=...)",
                UserWarning,
                stacklevel=4,
            )
        sources.append(
            _Source(f"subject {animal!r}", feature_blocks(averaged[:, rows]), {"subject": animal, "region": region})
        )
    return list(ids), sources


def _neuroid_names(assembly: Any, name: str, otherwise: str) -> np.ndarray:
    """Read a coordinate of neuroids as strings."""
    if name in assembly.coords and assembly[name].dims in ((), ("neuroid",)):
        return np.broadcast_to(assembly[name].values.astype(str), assembly.sizes["neuroid"])
    return np.full(assembly.sizes["neuroid"], otherwise)


def _chosen(layers: Sequence[str] | None, there: Sequence[str]) -> list[str]:
    """Check the layers that were asked for."""
    if layers is None:
        return list(there)
    for each in layers:
        if each not in there:
            raise LayerNotFound(f"no layer {each!r} to make an RDM of{near(str(each), there)}")
    return list(layers)
