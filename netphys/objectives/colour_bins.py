"""Colour as classes: bins of the ab plane, how rare each is, and the way from a colour to bins and back.

References
----------
Zhang R., Isola P. & Efros A. (2016). Colorful image colorization. ECCV, sections 2.1 (soft encoding), 2.2 (class
rebalancing) and 2.3 (annealed mean), https://arxiv.org/abs/1603.08511. Their list has 313 bins; the rule stated here
gives 261, and of these a training set shows fewer.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from netphys.colorimetry import srgb_to_lab
from netphys.errors import OptionError
from netphys.objectives.heads import take_shapes

__all__ = ["GRID", "ColourBins", "gamut_bins"]

GRID = 10.0  # side of a bin, units of ab
_N_NEAREST = 5
_SIGMA = 5.0  # of the soft encoding and of the smoothing of the prior, units of ab
_CELL = 2.0  # side of a cell of the table of candidates, units of ab
_CORNER = (-100.0, -120.0)  # a and b of its first cell; sRGB lies in a -87..99, b -108..95
_CELLS = (105, 112)


class ColourBins(nn.Module):
    """Bins of the ab plane, with what a training set says about them; all of it is in buffers.

    Parameters
    ----------
    rebalance : bool
        Weigh rare colours more (section 2.2).
    mix : float
        λ: share of the uniform distribution that is mixed into the prior before it is inverted, in [0, 1].
    occurring : bool
        Keep only bins that the training set shows; otherwise all that a screen can show.

    Attributes
    ----------
    centres : tensor (bin, 2)
        a and b.
    frequency : tensor (bin,)
        Share of places of the training set whose nearest bin this is; sums to 1.
    smoothed : tensor (bin,)
        The same, smoothed by a Gaussian of sd 5 in ab: p~.
    rarity : tensor (bin,)
        Weight w of a target in this bin; ``Σ p~ w = 1``. All 1 without rebalancing.
    constant : tensor (bin,)
        The best constant prediction: what training targets are on average, weighed by rarity; sums to 1. Where some
        bin has no target at all (``occurring=False``), one target that all bins share alike is added.
    constant_by_place : tensor (place, bin)
        The same for every place of the map, in rows of y, then x (sky is above); one image of `constant` is added to
        those of the training set, so that no bin has share 0.
    neighbour_entropy : tensor ()
        Entropy of a place's bin when the place to its left is known, nats.
    """

    centres: Tensor
    frequency: Tensor
    smoothed: Tensor
    rarity: Tensor
    constant: Tensor
    constant_by_place: Tensor
    neighbour_entropy: Tensor
    candidates: Tensor
    candidate_ab: Tensor

    def __init__(self, *, rebalance: bool = True, mix: float = 0.5, occurring: bool = True) -> None:
        super().__init__()
        if not 0 <= mix <= 1:
            raise OptionError(f"mix={mix} is no share in [0, 1]")
        self.rebalance, self.mix, self.occurring = rebalance, mix, occurring
        self.fitted = False
        centres = torch.from_numpy(gamut_bins())
        for name in _OF_A_BIN:
            self.register_buffer(name, torch.full((len(centres),), 1 / len(centres)))
        self.register_buffer("centres", centres)
        self.register_buffer("constant_by_place", torch.full((1, len(centres)), 1 / len(centres)))
        self.register_buffer("neighbour_entropy", torch.full((), float("nan")))  # until fitted
        for name in ("candidates", "candidate_ab"):  # a table for speed, made again wherever centres change
            self.register_buffer(name, None, persistent=False)
        self._tabulate()

    @property
    def n(self) -> int:
        """How many bins there are."""
        return len(self.centres)

    def encode(self, ab: Tensor) -> tuple[Tensor, Tensor]:
        """Share each colour among its five nearest bins.

        Parameters
        ----------
        ab : tensor (place, 2)
            Colours that a screen can show.

        Returns
        -------
        indices : tensor (place, 5) of int64
            The nearest bins, nearest first.
        shares : tensor (place, 5)
            ``exp(-distance² / (2 · 5²))``, over their sum.
        """
        squared, indices = self._nearest(ab, min(_N_NEAREST, self.n))
        return indices, torch.softmax(squared / (-2 * _SIGMA**2), 1)

    def decode(self, logits: Tensor, temperature: float) -> Tensor:
        """Return the annealed mean: the mean of centres under the softmax of logits / T.

        Parameters
        ----------
        logits : tensor (..., bin)
        temperature : float
            T in [0, 1]: 1 is the mean, 0 the mode.

        Returns
        -------
        tensor (..., 2)
            a and b.
        """
        if not 0 <= temperature <= 1:
            raise OptionError(f"temperature={temperature} of the annealed mean is not in [0, 1]")
        if temperature == 0:
            return self.centres[logits.argmax(-1)]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        share = torch.softmax(logits / temperature, -1)
        with torch.autocast(logits.device.type, enabled=False):
            return share @ self.centres.to(share.dtype)

    @torch.no_grad()
    def fit(self, ab: Tensor) -> None:
        """Learn from the colours of a training set which bins occur and how rare each is.

        Parameters
        ----------
        ab : tensor (image, 2, y, x)

        Raises
        ------
        OptionError
            If there is only one colour.
        """
        centres = torch.from_numpy(gamut_bins()).to(self.centres)
        self._resize(centres)
        places = ab.permute(0, 2, 3, 1).reshape(-1, 2)
        nearest = torch.cat([self._nearest(each, 1)[1] for each in places.split(1 << 16)])[:, 0]
        counts = torch.bincount(nearest, minlength=self.n)
        shown = (counts > 0).nonzero()[:, 0]
        if len(shown) < 2:
            a, b = centres[shown[0]].tolist()
            raise OptionError(f"all images have one colour (a, b near {a:.0f}, {b:.0f}); there is nothing to colour")
        if self.occurring:
            to_shown = torch.zeros_like(counts).index_fill_(0, shown, 1).cumsum(0) - 1
            nearest, counts = to_shown[nearest], counts[shown]  # what is nearest of all is nearest of those kept
            self._resize(centres[shown])
        self.frequency.copy_(counts.double() / counts.sum())
        self.smoothed.copy_(_smoothed(self.frequency.double(), self.centres.double()))
        self.rarity.copy_(self._rarity(self.smoothed.double()))
        total = self._targets(places, ab.shape[-2] * ab.shape[-1])
        self.constant.copy_(_constant(total))
        total = total / (len(ab) * self.rarity.double().mul(self.frequency).sum()) + self.constant / len(ab)
        self.constant_by_place = (total / total.sum(1, keepdim=True)).to(self.constant)
        self.neighbour_entropy.copy_(_conditional_entropy(nearest.view(len(ab), *ab.shape[-2:]), self.n))
        self.fitted = True

    def _rarity(self, smoothed: Tensor) -> Tensor:
        """Invert the mixed prior; the mean weight under it is 1."""
        if not self.rebalance:
            return torch.ones_like(smoothed)
        weights = 1 / ((1 - self.mix) * smoothed + self.mix / self.n)
        return weights / (smoothed * weights).sum()

    def _targets(self, colours: Tensor, n_places: int) -> Tensor:
        """Add up the soft targets of images, each weighed by the rarity of its nearest bin: (place, bin)."""
        total = self.rarity.new_zeros(n_places * self.n, dtype=torch.float64)
        for first in range(0, len(colours), 1 << 16):
            indices, shares = self.encode(colours[first : first + (1 << 16)])
            place = torch.arange(first, first + len(indices), device=indices.device) % n_places
            weighed = shares.double() * self.rarity[indices[:, :1]].double()
            total.index_add_(0, (place[:, None] * self.n + indices).flatten(), weighed.flatten())
        return total.view(n_places, self.n)

    def _nearest(self, ab: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Return squared distances and numbers of the k nearest bins, among the candidates of the colour's cell."""
        row = ((ab[:, 0] - _CORNER[0]) / _CELL).long().clamp_(0, _CELLS[0] - 1)
        column = ((ab[:, 1] - _CORNER[1]) / _CELL).long().clamp_(0, _CELLS[1] - 1)
        cell = row.mul_(_CELLS[1]).add_(column)
        n_candidates = self.candidates.shape[1]
        offset = self.candidate_ab.to(ab.dtype).index_select(0, cell).view(-1, 2, n_candidates).sub_(ab[:, :, None])
        squared, which = offset.square_().sum(1).topk(k, dim=1, largest=False)
        return squared, self.candidates.view(-1)[which.add_(cell.mul_(n_candidates)[:, None])]

    def _resize(self, centres: Tensor) -> None:
        """Start anew with these bins."""
        self.centres = centres
        self._tabulate()
        for name in _OF_A_BIN:
            setattr(self, name, centres.new_full((len(centres),), 1 / len(centres)))
        self.constant_by_place = self.frequency[None]

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        take_shapes(self, state_dict, prefix, ("centres", "constant_by_place", *_OF_A_BIN))
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self._tabulate()
        self.fitted = not bool(self.neighbour_entropy.isnan())

    def _tabulate(self) -> None:
        self.candidates = _candidates(self.centres)
        self.candidate_ab = self.centres[self.candidates].transpose(1, 2).flatten(1).contiguous()  # all a, then all b


_OF_A_BIN = ("frequency", "smoothed", "rarity", "constant")


@lru_cache(maxsize=1)
def gamut_bins() -> np.ndarray:
    """Return the centres of bins of a grid of 10 that are nearest to some colour of sRGB: float32 (261, 2).

    Of the 256³ colours every third level is looked at on the faces of the colour cube, which are the outline of the
    gamut in ab, and every fifteenth within; all of them give the same bins.
    """
    fine, coarse = torch.arange(0, 256, 3, dtype=torch.uint8), torch.arange(0, 256, 15, dtype=torch.uint8)
    face = torch.cartesian_prod(fine, fine)
    faces = [
        torch.cat([face[:, :axis], torch.full((len(face), 1), value, dtype=torch.uint8), face[:, axis:]], 1)
        for axis in range(3)
        for value in (0, 255)
    ]
    colours = torch.cat([*faces, torch.cartesian_prod(coarse, coarse, coarse)])
    ab = srgb_to_lab(colours[:, :, None])[:, 1:, 0]
    return (np.unique(np.rint(ab.numpy() / GRID), axis=0) * GRID).astype(np.float32)


def _candidates(centres: Tensor) -> Tensor:
    """Return, for every cell of a fine grid, bins among which are the five nearest of any colour in the cell.

    A colour is within half a diagonal r of the centre of its cell, so that none of its five nearest is farther from
    that centre than the centre's own fifth is, and 2 r. All rows have the length of the longest: nearest first.
    """
    axes = [corner + _CELL * (torch.arange(n) + 0.5) for corner, n in zip(_CORNER, _CELLS)]
    middles = torch.cartesian_prod(*axes).to(centres)
    k = min(_N_NEAREST, len(centres))
    distances = torch.cdist(middles, centres, compute_mode="donot_use_mm_for_euclid_dist")
    fifth = distances.topk(k, dim=1, largest=False)[0][:, -1:]
    reach = fifth + _CELL * 2**0.5 + 1e-3  # and rounding
    n_candidates = max(int((distances <= reach).sum(1).max()), k)
    return distances.topk(n_candidates, dim=1, largest=False)[1]


def _constant(total: Tensor) -> Tensor:
    """Return shares of targets (place, bin); where a bin has none, one target that all bins share alike is added."""
    summed = total.sum(0)
    share = summed / total.sum()
    if bool((share.float() == 0).any()):  # its log would be -inf, and so would the loss of a colour not seen before
        share = (summed + 1 / len(summed)) / (total.sum() + 1)
    return share


def _smoothed(frequency: Tensor, centres: Tensor) -> Tensor:
    """Smooth frequencies of bins by a Gaussian in ab; the sum stays 1."""
    kernel = torch.exp(torch.cdist(centres, centres).square() / (-2 * _SIGMA**2))
    smoothed = kernel @ frequency
    return smoothed / smoothed.sum()


def _conditional_entropy(bins: Tensor, n_bins: int) -> Tensor:
    """Return H(bin | bin to the left) of maps (image, y, x) of bins, nats."""
    pairs = bins[:, :, :-1] * n_bins + bins[:, :, 1:]
    joint = torch.bincount(pairs.flatten(), minlength=n_bins**2).double().view(n_bins, n_bins)
    joint = joint / joint.sum().clamp_min(1)
    return torch.special.entr(joint).sum() - torch.special.entr(joint.sum(1)).sum()
