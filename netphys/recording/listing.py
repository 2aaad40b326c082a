"""The table of a network's layers, as a person reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from netphys.networks import Network, Preprocess, as_network
from netphys.recording.layers import N_PROBE, probe_images, probe_layers

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from netphys.stimuli import StimulusSet

__all__ = ["layers"]

_DEFAULT_SIDE = 64  # pixels, for a network that says nothing of its input


def layers(network: Network | torch.nn.Module | str, stimuli: StimulusSet | None = None) -> pd.DataFrame:
    """List the layers of a network: name, kind, shape (of one stimulus), parameters; in order of execution.

    Parameters
    ----------
    network : Network or torch.nn.Module
        Any network.
    stimuli : StimulusSet, optional
        Whose first images the probing forward sees. Default: noise of the size that the network's preprocessing
        makes, else of 64 pixels.

    Returns
    -------
    pandas.DataFrame
        Columns ``name, kind, shape, dims, n_units, n_parameters``, and ``problem``: why a layer cannot be recorded,
        else empty.

    Examples
    --------
    >>> import netphys
    >>> layers(netphys.load_network("netphys:gabor_energy"))[["name", "shape"]].values.tolist()
    [['simple', (160, 16, 16)], ['energy', (40, 16, 16)]]
    """
    import pandas as pd

    network = as_network(network)
    table = probe_layers(network, _example(network, stimuli))
    columns = ("name", "kind", "shape", "dims", "n_units", "n_parameters", "problem")
    return pd.DataFrame([{column: getattr(layer, column) for column in columns} for layer in table])


def _example(network: Network, stimuli: StimulusSet | None) -> Any:
    """Images for the probing forward."""
    import torch

    if stimuli is not None:
        return probe_images(stimuli)
    side: Sequence[int] = (_DEFAULT_SIDE, _DEFAULT_SIDE)
    if isinstance(network.preprocess, Preprocess):
        side = network.preprocess.output_size((_DEFAULT_SIDE, _DEFAULT_SIDE))
    return torch.randint(0, 256, (N_PROBE, 3, *side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
