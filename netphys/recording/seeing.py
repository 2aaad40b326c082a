"""How much of the image each layer sees: theoretical receptive fields, where they can be worked out.

They are of the image that the network sees, and told beside layers and recordings; no number hangs on them, so that a
network whose operations cannot be followed is recorded all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from netphys.errors import OptionError
from netphys.networks import Network
from netphys.recording.gradients import SUFFIX
from netphys.recording.layers import Layer
from netphys.recording.showing import shown

if TYPE_CHECKING:
    from netphys.networks.fields import Field
    from netphys.stimuli import StimulusSet

__all__ = ["field_facts", "fields_seen", "size_seen"]

log = logging.getLogger(__name__)


def size_seen(network: Network, values: Sequence[Any]) -> tuple[int, int] | None:
    """Return the size (y, x) of the image that the network sees; None where that is not one image of three colours."""
    if len(values) > 1:
        return None
    shape = tuple(network.prepare(values[0]).shape)
    return (shape[2], shape[3]) if len(shape) == 4 and shape[1] == 3 else None


def fields_seen(network: Network, size: tuple[int, int] | None) -> Mapping[str, Field] | str:
    """Work out the receptive fields, or say why they are unknown."""
    from netphys.networks.geometry import receptive_fields

    if size is None:
        return "the network does not look at one image of three colours"
    try:
        return receptive_fields(network, size=size)
    except OptionError as error:
        return str(error)
    except Exception as error:  # a network that runs, and whose operations are called in a way not foreseen
        log.debug("receptive fields of %s", network.name, exc_info=True)
        return f"its operations cannot be followed ({type(error).__name__})"


def field_facts(network: Network, stimuli: StimulusSet, layers: Sequence[Layer]) -> dict[str, dict[str, Any]]:
    """Describe the receptive fields of layers as plain data, for the file of a recording; unknown ones are left out.

    Returns
    -------
    dict
        Layer → ``size``, ``stride``, ``centre`` (y, x) and the ``image`` in pixels, or ``whole``; ``gated`` where
        gates that look at the whole image were left out.
    """
    fields = fields_seen(network, size_seen(network, shown(network, stimuli, [0])))
    facts: dict[str, dict[str, Any]] = {}
    for layer in layers:
        field = None if isinstance(fields, str) else fields.get(layer.name.removesuffix(SUFFIX))
        if field is None or field.problem:
            continue
        where = {"size": list(field.size), "stride": list(field.stride), "centre": list(field.centre)}
        facts[layer.name] = {"image": list(field.image), **({"whole": True} if field.whole else where)}
        if field.gated:
            facts[layer.name]["gated"] = True
    return facts
