"""Guess the colours of an image from its lightness, as classes.

References
----------
Zhang R., Isola P. & Efros A. (2016). Colorful image colorization. ECCV, section 2, https://arxiv.org/abs/1603.08511.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netphys.colorimetry import lab_to_srgb, srgb_to_lab
from netphys.errors import OptionError
from netphys.objectives.colour_bins import ColourBins
from netphys.objectives.contract import Bits, Clock, Couples, Objective, Spec, Step
from netphys.objectives.heads import Decoder, features, output_shape
from netphys.objectives.laws import view_law
from netphys.objectives.soft_labels import soft_cross_entropy

if TYPE_CHECKING:
    from netphys.networks import Preprocess
    from netphys.ranks import Ranks

__all__ = ["Colorization"]


class Colorization(Objective):
    """The trunk sees lightness / 100 on three equal channels; a decoder names the bin of ab at every place of a map.

    The decoder starts at the best constant prediction (:attr:`ColourBins.constant`): the first loss is ``prior``.

    Parameters
    ----------
    trunk, size, normalise
        See :class:`~netphys.objectives.contract.Objective`; `normalise` is mean and sd, applied to the lightness. The
        trunk returns maps.
    target_side : int
        Rows and columns of the map of targets; the ab of an image is averaged to it in Lab.
    rebalance : bool
        Weigh rare colours more.
    mix : float
        λ of the weights, in [0, 1]: how far they are evened out.
    occurring : bool
        Predict only bins that the training set shows.
    temperature : float
        T of the annealed mean, for figures and for the chroma that is logged.
    crop_scale, flip
        Law of the view: see :func:`~netphys.objectives.laws.view_law`. Colours, the target, are left alone.
    shuffle : bool
        Negative control: every image is shown with the lightness of another of its batch.
    """

    name = "colorization"
    couples = Couples.NONE
    reference_paper = "Zhang, Isola & Efros (2016)"

    def __init__(
        self,
        trunk: nn.Module,
        *,
        size: tuple[int, int],
        normalise: Any = None,
        target_side: int = 16,
        rebalance: bool = True,
        mix: float = 0.5,
        occurring: bool = True,
        temperature: float = 0.38,
        crop_scale: tuple[float, float] = (0.35, 1.0),
        flip: bool = True,
        shuffle: bool = False,
    ) -> None:
        super().__init__(trunk, size=size, normalise=normalise)
        if not 1 <= target_side <= min(size):
            raise OptionError(f"target_side={target_side} is not between 1 and the image's {min(size)} pixels")
        if not 0 <= temperature <= 1:
            raise OptionError(f"temperature={temperature} of the annealed mean is not in [0, 1]")
        self.target_side, self.temperature, self.shuffle = target_side, float(temperature), shuffle
        self.law = view_law(size, crop_scale=crop_scale, flip=flip)
        self.bins = ColourBins(rebalance=rebalance, mix=mix, occurring=occurring)
        self.decoder = Decoder(output_shape(trunk, size), target_side, self.bins.n)
        self._options = {
            "target_side": target_side, "rebalance": rebalance, "mix": mix, "occurring": occurring,
            "temperature": temperature, "crop_scale": list(crop_scale), "flip": flip, "shuffle": shuffle,
        }  # fmt: skip

    @property
    def needs(self) -> dict[str, Spec]:
        """An image, seen by one view that leaves its colours."""
        return {"image": Spec("image", (3, *self.size), law=self.law)}

    def options(self) -> dict[str, Any]:
        """Say every option that the result depends on."""
        return dict(self._options)

    @classmethod
    def preprocess(cls, given: Preprocess) -> Preprocess:
        """The trained network sees lightness alone."""
        return dataclasses.replace(given, colour="lightness")

    def fit_targets(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Learn which colours the training set has, in 2 kB an image; the decoder's head starts anew."""
        self.bins.fit(torch.cat([self._ab(srgb_to_lab(batch["image"])) for batch in batches]))
        self.decoder.head.resize(self.bins.n, bias=self.bins.constant.log())

    def forward(self, batch: Mapping[str, Tensor], turn: str, at: Clock, ranks: Ranks) -> Step:
        """Name the colours, and say the loss (nats, weighed by rarity).

        `out`: f (features), p (logits, image x y x x bin). The log `nats` is the loss without weights.
        """
        if not self.bins.fitted:
            raise OptionError("colorization does not know the colours of its training set; call fit_targets first")
        lab = srgb_to_lab(batch["image"])
        indices, shares = self.bins.encode(_rows(self._ab(lab)))
        light = lab[:, :1] / 100
        if self.shuffle:
            light = light.roll(1 + at.step % max(len(light) - 1, 1), 0)
        output, logits = self._look(light)
        rarity = self.bins.rarity[indices[:, 0]]  # of the target, never of the prediction
        loss = soft_cross_entropy(logits.flatten(0, 2), indices, shares, rarity)
        logs = {"loss": loss.detach()}
        if not self.training:
            with torch.no_grad():
                logs["nats"] = soft_cross_entropy(logits.flatten(0, 2), indices, shares)
                logs["chroma_ratio"] = self._chroma_ratio(logits, self._ab(lab), self.temperature)
        return Step(loss, logs, {"f": features(output), "p": logits})

    @torch.no_grad()
    def colourise(self, images: Tensor, *, temperature: float | None = None) -> Tensor:
        """Give images the colours that the network expects; the lightness stays.

        Parameters
        ----------
        images : tensor (n, 3, y, x)
            sRGB; their own colours are not looked at.
        temperature : float, optional
            T of the annealed mean: 1 the mean, 0 the mode.

        Returns
        -------
        tensor (n, 3, y, x)
            sRGB in [0, 1].
        """
        light = srgb_to_lab(images)[:, :1]
        logits = self._look_as_tested(light / 100)
        ab = self.bins.decode(logits, self.temperature if temperature is None else temperature).permute(0, 3, 1, 2)
        ab = nn.functional.interpolate(ab, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return lab_to_srgb(torch.cat([light, ab.to(light.dtype)], 1))

    @torch.no_grad()
    def chroma_ratio(self, images: Tensor, *, temperature: float | None = None) -> Tensor:
        """Return the mean chroma that is predicted for images, over the true one: below 1, colours are dull."""
        lab = srgb_to_lab(images)
        logits = self._look_as_tested(lab[:, :1] / 100)
        return self._chroma_ratio(logits, self._ab(lab), self.temperature if temperature is None else temperature)

    @torch.no_grad()
    def reference(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """Say the loss on this batch of all bins alike, of the best constant, and of the targets themselves.

        ``prior_by_place`` is that of the best constant of every place: without looking, a decoder can learn that sky is
        above, because the border of a map tells where it is. It is what the shuffled control stays at.
        """
        indices, shares = self.bins.encode(_rows(self._ab(srgb_to_lab(batch["image"]))))
        rarity = self.bins.rarity[indices[:, 0]]
        chance = rarity.double().mean() * math.log(self.bins.n)
        prior = -(rarity * (shares * self.bins.constant.log()[indices]).sum(1)).double().mean()
        place = torch.arange(len(indices), device=indices.device) % len(self.bins.constant_by_place)
        logs = self.bins.constant_by_place[place[:, None], indices].log()
        by_place = -(rarity * (shares * logs).sum(1)).double().mean()
        oracle = (rarity * torch.special.entr(shares).sum(1)).double().mean()
        said = {"chance": chance, "prior": prior, "prior_by_place": by_place, "oracle": oracle}
        return {name: float(value) for name, value in said.items()}

    def bits(self, losses: Mapping[str, float]) -> Bits:
        """Say the entropy of an image's bins, and how much of it the network knows, in bits an image.

        Offered counts places as if they were independent; :meth:`entropy_rate` says how far they are not. Used is in
        the units of the loss: with rebalancing, rare colours count more.
        """
        places = self.target_side**2 / math.log(2)
        offered = float(torch.special.entr(self.bins.frequency.double()).sum())
        return Bits(places * offered, places * max(0.0, losses["prior"] - losses["held_out"]))

    def entropy_rate(self) -> float:
        """Return the entropy of an image's bins when each is known to the right of its neighbour: bits an image."""
        return self.target_side**2 * float(self.bins.neighbour_entropy) / math.log(2)

    def control(self) -> dict[str, dict[str, Any]]:
        """The lightness of another image: the loss stays at ``prior_by_place``. No rebalancing: colours are duller."""
        return {"shuffled lightness": {"shuffle": True}, "no rebalancing": {"rebalance": False}}

    def _look(self, light: Tensor) -> tuple[Tensor, Tensor]:
        """Show lightness / 100 (n, 1, y, x), and return the trunk's output and the logits (n, y, x, bin)."""
        seen = light.expand(-1, 3, -1, -1)
        output = self.trunk(self.normalise(seen) if self.normalise else seen)
        return output, self.decoder(output)

    def _look_as_tested(self, light: Tensor) -> Tensor:
        """Return logits in eval mode; the mode is left as found."""
        training = self.training
        self.eval()
        try:
            return self._look(light)[1]
        finally:
            self.train(training)

    def _ab(self, lab: Tensor) -> Tensor:
        """Average the ab of images in Lab: (n, 2, side, side)."""
        return nn.functional.adaptive_avg_pool2d(lab[:, 1:], self.target_side)

    def _chroma_ratio(self, logits: Tensor, ab: Tensor, temperature: float) -> Tensor:
        predicted = self.bins.decode(logits, temperature).norm(dim=-1).mean()
        return predicted / ab.norm(dim=1).mean().clamp_min(1e-6)


def _rows(ab: Tensor) -> Tensor:
    """Put places in rows: (n, 2, y, x) → (n y x, 2)."""
    return ab.permute(0, 2, 3, 1).reshape(-1, 2)
