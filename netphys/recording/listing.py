"""The table of a network's layers, as a person reads it: what there is to record, and how much of the image it sees."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError
from netphys.files import write_json, write_text
from netphys.networks import Network, Preprocess, as_network
from netphys.provenance import provenance
from netphys.recording.layers import N_PROBE, Layer, probe_layers
from netphys.recording.patterns import aliases_in, match_layers
from netphys.recording.seeing import fields_seen, size_seen
from netphys.recording.showing import shown

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from netphys.networks.fields import Field
    from netphys.stimuli import StimulusSet

__all__ = ["layers", "matching", "save_layers"]

log = logging.getLogger(__name__)

_DEFAULT_SIDE = 64  # pixels, for a network that says nothing of its input
_PAIRS = ("stride", "receptive_field")


def layers(
    network: Network | torch.nn.Module | str, stimuli: StimulusSet | None = None, *, receptive_fields: bool = True
) -> pd.DataFrame:
    """List the layers of a network, in order of execution.

    Parameters
    ----------
    network : Network, torch.nn.Module or address
        Any network.
    stimuli : StimulusSet, optional
        Whose first one the probing forward sees. Default: noise of the size that the network's preprocessing makes,
        else of 64 pixels.
    receptive_fields : bool
        Work out strides and theoretical receptive fields, too: one more forward of one image, followed operation by
        operation (:mod:`netphys.networks.geometry`).

    Returns
    -------
    pandas.DataFrame
        One row a layer:

        - ``name``, ``kind`` (the module's class, or the function);
        - ``shape`` of one stimulus, in the order of ``dims``; ``n_units``;
        - ``stride`` and ``receptive_field``: (y, x), pixels of the image that the network sees; the field is the
          largest of the layer's positions, and borders of the image are ignored. None where unknown;
        - ``whole``: every position reads all of the image (dense layers, attention, global pooling); such a layer's
          stride is None, and its field the size of the image;
        - ``note``: why a field is unknown, or what was left out of it (gates that look at the whole image);
        - ``n_parameters`` of the module, its children included; 0 of a function;
        - ``tokens`` (``"1 cls + 196 patch"``) and ``grid`` of the places, (y, x), where they are known;
        - ``problem``: why a layer cannot be recorded, else empty.

        ``attrs["image"]`` is the size (y, x) that the network sees, where it looks at one image;
        ``attrs["n_parameters"]`` counts each parameter of the network once, ``attrs["layers"]`` holds the layers.

    Raises
    ------
    RecordingError
        If the network cannot look at such stimuli.

    Examples
    --------
    >>> import netphys
    >>> table = layers(netphys.load_network("netphys:gabor_energy"))
    >>> table[["name", "shape", "stride", "receptive_field"]].iloc[1:].values.tolist()
    [['simple', (160, 16, 16), (4.0, 4.0), (49, 49)], ['energy', (40, 16, 16), (4.0, 4.0), (49, 49)]]
    """
    import pandas as pd

    network = as_network(network)
    values = _example(network, stimuli)
    table = probe_layers(network, values)
    size = size_seen(network, values)
    rows = [_row(layer) for layer in table]
    if receptive_fields:
        fields = fields_seen(network, size)
        rows = [{**row, **_seen(row["name"], fields)} for row in rows]
    frame = pd.DataFrame(rows, dtype=object, columns=[each for each in _ORDER if each in rows[0]])
    frame = frame.astype({each: kind for each, kind in _TYPES.items() if each in frame})
    frame.attrs = {"layers": tuple(table), "image": size, "n_parameters": _count(network.module)}
    return frame


_ORDER = (
    "name", "kind", "shape", "dims", "n_units", *_PAIRS, "whole", "note", "n_parameters", "tokens", "grid", "problem",
)  # fmt: skip
_TYPES = {"n_units": int, "n_parameters": int, "whole": bool}


def matching(table: pd.DataFrame, patterns: str | Sequence[str], *, network: Network) -> pd.DataFrame:
    """Return the rows that layer patterns mean, see :mod:`netphys.recording.patterns`.

    Raises
    ------
    LayerNotFound
        If a pattern matches no layer.
    """
    names = match_layers(patterns, table.attrs["layers"], network=network.name, aliases=aliases_in(network.module))
    return table[table["name"].isin(names)]


def save_layers(table: pd.DataFrame, path: Path | str, *, network: Network) -> Path:
    """Write a table of layers as CSV, and beside it, as JSON, what made it.

    Pairs become two columns (``stride_y``, ``stride_x``), shapes text (``64 x 56 x 56``).

    Raises
    ------
    OptionError
        If the file is not called ``.csv``.
    OutputError
        If it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".csv":
        raise OptionError(f"a table of layers is a CSV file: {path.with_suffix('.csv')}, not {path}")
    flat: dict[str, list[Any]] = {}
    for column in map(str, table):
        if column in _PAIRS:
            for at, axis in enumerate("yx"):
                flat[f"{column}_{axis}"] = [None if pair is None else pair[at] for pair in table[column]]
        elif column in ("shape", "grid"):
            flat[column] = ["" if each is None else " x ".join(map(str, each)) for each in table[column]]
        else:
            flat[column] = [" ".join(each) if isinstance(each, tuple) else each for each in table[column]]
    image = table.attrs.get("image")
    options = {"image": list(image) if image else None, "layers": list(table["name"])}
    written = write_text(path, type(table)(flat).to_csv(index=False))
    write_json(path.with_suffix(".json"), provenance("layers", options, {"network": network.digest}))
    return written


def _row(layer: Layer) -> dict[str, Any]:
    """Describe a layer, but for what it sees of the image."""
    columns = ("name", "kind", "shape", "dims", "n_units", "n_parameters", "problem")
    tokens = " + ".join(f"{len(list(run))} {kind}" for kind, run in groupby(layer.arrangement.tokens))
    return {**{each: getattr(layer, each) for each in columns}, "tokens": tokens, "grid": layer.arrangement.grid}


def _seen(name: str, fields: Mapping[str, Field] | str) -> dict[str, Any]:
    """Describe how much of the image a layer sees, or why that is not known."""
    field = None if isinstance(fields, str) else fields.get(name)
    if field is None or field.problem:
        reason = field.problem if field is not None else fields if isinstance(fields, str) else "it was not reached"
        return {"stride": None, "receptive_field": None, "whole": False, "note": f"receptive field unknown: {reason}"}
    if field.whole:
        return {"stride": None, "receptive_field": field.image, "whole": True, "note": ""}
    note = "gates that look at the whole image are left out of the receptive field" if field.gated else ""
    return {"stride": field.stride, "receptive_field": field.size, "whole": False, "note": note}


def _example(network: Network, stimuli: StimulusSet | None) -> tuple[Any, ...]:
    """Values for the probing forward, one a field."""
    import torch

    if stimuli is not None:
        return shown(network, stimuli, [0] * N_PROBE)
    if network.fields != ("image",):
        raise OptionError(
            f"{network.name} looks at {', '.join(network.fields)}; give stimuli (--stimuli) that have them"
        )
    side: Sequence[int] = (_DEFAULT_SIDE, _DEFAULT_SIDE)
    if isinstance(network.preprocess, Preprocess):
        side = network.preprocess.output_size((_DEFAULT_SIDE, _DEFAULT_SIDE))
    noise = torch.randint(0, 256, (N_PROBE, 3, *side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return (noise,)


def _count(module: torch.nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())
