"""How neuroids read what drives a region: readouts of everything, single cells, readouts with a tolerance of position.

A population turns the standardised features into the drive of `n` neuroids, with their receptive fields. Which neuroids
they are is drawn by the generator that is given, so that subjects are different populations of one law.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from netphys.errors import NeuralDataError
from netphys.neural.cortex.receptive_fields import SDS, ReceptiveFields

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

__all__ = ["Cells", "Population", "Readouts", "Sites", "TolerantReadouts"]

# Diameters of receptive fields in anterior IT: from 2.8 to 26 degrees, profiles two-dimensional Gaussians
# (Op de Beeck and Vogels 2000, doi 10.1002/1096-9861(20001030)426:4<505::AID-CNE1>3.0.CO;2-M); log-uniform: our choice
_IT_SIZES = (2.8, 26.0)
_IT_SCATTER = 1.5  # degrees, standard deviation of the centres about the fovea along an axis: our choice
# Nearly all fields include the fovea (Gross, Bender and Rocha-Miranda 1969, doi 10.1126/science.166.3910.1303)
_IT_REACH = 0.45  # greatest distance of the centre from the fovea, in diameters


@dataclass(frozen=True)
class Sites:
    """The drive of some neuroids, and where they look."""

    drive: Float[np.ndarray, "stimulus neuroid"]
    fields: ReceptiveFields | None = None


class Population(Protocol):
    """What makes neuroids of features."""

    def sites(self, scaled: np.ndarray, varying: np.ndarray, n: int, draws: np.random.Generator) -> Sites:
        """Drive of `n` neuroids; `scaled` holds the standardised features that vary, `varying` says which they are."""
        ...


@dataclass(frozen=True)
class Readouts:
    """Every neuroid reads all features with weights from N(0, 1); it has no receptive field."""

    def sites(
        self,
        scaled: Float[np.ndarray, "stimulus varying"],
        varying: Bool[np.ndarray, " feature"],
        n: int,
        draws: np.random.Generator,
    ) -> Sites:
        """See :class:`Population`."""
        return Sites(scaled @ draws.standard_normal((scaled.shape[1], n)))


@dataclass(frozen=True)
class Cells:
    """Every neuroid is one feature, a cell with a receptive field; none is taken twice before all were taken once."""

    fields: ReceptiveFields

    def sites(
        self,
        scaled: Float[np.ndarray, "stimulus varying"],
        varying: Bool[np.ndarray, " feature"],
        n: int,
        draws: np.random.Generator,
    ) -> Sites:
        """See :class:`Population`."""
        if len(varying) != len(self.fields):
            raise NeuralDataError(
                f"a population of cells needs a receptive field for each feature; there are {len(varying)} features "
                f"and {len(self.fields)} receptive fields"
            )
        order = draws.permutation(len(varying))
        rows = np.resize(
            order[varying[order]], n
        )  # a cell that these stimuli do not drive is not found by an electrode
        return Sites(scaled[:, (np.cumsum(varying) - 1)[rows]], self.fields.take(rows))


@dataclass(frozen=True)
class TolerantReadouts:
    """Every neuroid reads all features, with a gain that falls as the object leaves its large receptive field.

    Attributes
    ----------
    positions : float (stimulus, 2)
        Centre of the object, degrees from the centre of the image, rightwards and downwards.

    Notes
    -----
    For neuroid j with a field of centre c_j and diameter d_j = 4 sigma_j::

        drive_ij = exp(-|pos_i - c_j|^2 / (2 sigma_j^2)) z(f(x_i)) B_j

    so the response to an object far off the centre of the field is nearer to the mean; what is preferred stays.
    """

    positions: Float[np.ndarray, "stimulus 2"]

    def sites(
        self,
        scaled: Float[np.ndarray, "stimulus varying"],
        varying: Bool[np.ndarray, " feature"],
        n: int,
        draws: np.random.Generator,
    ) -> Sites:
        """See :class:`Population`."""
        if self.positions.shape != (len(scaled), 2):
            raise NeuralDataError(
                f"readouts with a tolerance of position need positions (stimulus, 2) of {len(scaled)} stimuli; these "
                f"have shape {self.positions.shape}"
            )
        linear = scaled @ draws.standard_normal((scaled.shape[1], n))
        size = np.exp(draws.uniform(np.log(_IT_SIZES[0]), np.log(_IT_SIZES[1]), size=n))
        x, y = _IT_SCATTER * draws.standard_normal((2, n))
        nearer = np.minimum(1.0, _IT_REACH * size / np.maximum(np.hypot(x, y), 1e-12))
        fields = ReceptiveFields(x * nearer, y * nearer, size)
        squared = (self.positions[:, :1] - fields.x) ** 2 + (self.positions[:, 1:] - fields.y) ** 2
        return Sites(np.exp(-0.5 * squared / (size / SDS) ** 2) * linear, fields)
