"""Know a sample again in another view: SimCLR.

References
----------
Chen T., Kornblith S., Norouzi M. & Hinton G. (2020). A simple framework for contrastive learning of visual
representations. ICML, section 2 and appendix B, https://arxiv.org/abs/2002.05709.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from netphys.errors import OptionError
from netphys.objectives.contract import Bits, Clock, Couples, Objective, Spec, Step
from netphys.objectives.contrast import contrast, stacked_partners
from netphys.objectives.heads import Projector, features, full_precision, n_features, output_shape
from netphys.objectives.laws import view_law

if TYPE_CHECKING:
    from netphys.ranks import Ranks

__all__ = ["SimCLR"]


class SimCLR(Objective):
    """Two views of each image; the projection of one finds the other among all views of the batch.

    The trunk's features are what is recorded and probed; the projector is thrown away.

    Parameters
    ----------
    trunk, size, normalise
        See :class:`~netphys.objectives.contract.Objective`.
    temperature : float
        T > 0 of the softmax over cosines. 0.2 for batches of some hundred.
    hidden : int, optional
        Width of the projector's hidden layer. Default: that of the features.
    projection : int
        Width of the projection.
    crop_scale : (float, float)
        Share of the area of a crop. From 0.4 on: an object of 20 to 40 pixels in 64 must be in most crops; the 0.08 of
        photographs often shows none of it.
    flip, jitter, grey
        The rest of the law of views: see :func:`~netphys.objectives.laws.view_law`. Without jitter the histogram of
        colours gives the pair away. There is no blur: at 64 pixels it takes the shape with it.

    Notes
    -----
    Two views of one scene in a batch that are not partners (frames of a video) are false negatives.
    """

    name = "simclr"
    couples = Couples.NEGATIVES
    reference_paper = "Chen, Kornblith, Norouzi & Hinton (2020)"

    def __init__(
        self,
        trunk: nn.Module,
        *,
        size: tuple[int, int],
        normalise: Any = None,
        temperature: float = 0.2,
        hidden: int | None = None,
        projection: int = 64,
        crop_scale: tuple[float, float] = (0.4, 1.0),
        flip: bool = True,
        jitter: float = 0.5,
        grey: float = 0.2,
    ) -> None:
        super().__init__(trunk, size=size, normalise=normalise)
        if not 0 < temperature < math.inf:
            raise OptionError(f"temperature={temperature} is not above 0")
        if projection < 1 or (hidden is not None and hidden < 1):
            raise OptionError(f"projection={projection} and hidden={hidden} are widths of 1 or more")
        self.temperature = float(temperature)
        self.law = view_law(size, crop_scale=crop_scale, flip=flip, jitter=jitter, grey=grey)
        width = n_features(output_shape(trunk, size))
        self.projector = Projector(width, hidden or width, projection)
        self._options = {
            "temperature": temperature, "hidden": hidden, "projection": projection, "crop_scale": list(crop_scale),
            "flip": flip, "jitter": jitter, "grey": grey,
        }  # fmt: skip

    @property
    def needs(self) -> dict[str, Spec]:
        """Two views of an image."""
        return {"image": Spec("image", (3, *self.size), group=2, law=self.law)}

    def options(self) -> dict[str, Any]:
        """Say every option that the result depends on."""
        return dict(self._options)

    def forward(self, batch: Mapping[str, Tensor], turn: str, at: Clock, ranks: Ranks) -> Step:
        """Project both views, and say the loss (nats) over the views of all ranks.

        `out` holds f and z of all first views, then of all second views, and which row is the partner of which.
        """
        views = batch["image"].transpose(0, 1).flatten(0, 1)  # (sample, 2, ...) → all first, then all second
        f = features(self.trunk(self.normalise(views) if self.normalise else views))
        with full_precision(f):
            z = self.projector(f)
        partner = stacked_partners(len(z), z.device)
        loss, found = contrast(z, partner, temperature=self.temperature, ranks=ranks)
        return Step(loss, {"loss": loss.detach(), "accuracy": found}, {"f": f, "z": z, "partner": partner})

    def reference(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """Say the loss of ``chance``: all projections equal, ln of the number of candidates of one process."""
        return {"chance": math.log(2 * len(batch["image"]) - 1)}

    def bits(self, losses: Mapping[str, float]) -> Bits:
        """Say log2 of the candidates, and a lower bound of what one view tells about the other, at this batch size."""
        chance = losses["chance"] / math.log(2)
        return Bits(chance, max(0.0, chance - losses["held_out"] / math.log(2)))

    def control(self) -> dict[str, dict[str, Any]]:
        """Name shortcuts: equal views (solved at once, nothing learned), and colours left as they are."""
        return {
            "no augmentation": {"crop_scale": [1.0, 1.0], "flip": False, "jitter": 0.0, "grey": 0.0},
            "no colour jitter": {"jitter": 0.0, "grey": 0.0},
        }
