"""Phase-scrambled images: the spectrum of an image, and nothing of what is in it.

The same random phases are added to all colours, so that the spectrum of each and what they have in common stay. With
a coherence c above 0 the phase of each frequency is the weighted mean of the image's and a random one, as of two unit
vectors (Dakin et al. 2002): to every phase, arg(c + (1 - c) exp(i d)) is added, where d is the random phase.

A discrete spectrum is that of an image repeated without end: where opposite borders differ, its horizontal and vertical
frequencies are strong, and scrambled images show them as streaks.

References
----------
Dakin S.C., Hess R.F., Ledgeway T., Achtman R.L. (2002). What causes non-monotonic tuning of fMRI response to noisy
images? Curr Biol 12, R476-R477. doi:10.1016/S0960-9822(02)00960-0
"""

from __future__ import annotations

import logging
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from netphys.errors import OptionError, near
from netphys.stimuli.classic.limits import seed_of
from netphys.stimuli.classic.varied import Made, Stimuli, as_float, as_set, varied_set
from netphys.stimuli.stimulus_set import StimulusSet

__all__ = ["phase_scrambled"]

Fit = Literal["clip", "shrink"]

_LOG = logging.getLogger(__name__)
_FITS = ("clip", "shrink")
_MANY = 0.01  # share of clipped values that is worth a word: it changes contrast by about as much


def phase_scrambled(
    stimuli: Stimuli, *, n: int = 1, coherence: float = 0.0, fit: Fit = "clip", seed: int = 0
) -> StimulusSet:
    """Scramble the phases of images.

    Parameters
    ----------
    stimuli : StimulusSet, address or array
        Images of any sizes.
    n : int
        Scrambled ones of each image, each with phases of its own.
    coherence : float
        Weight of the image's own phases, in [0, 1]; 1 gives the image back.
    fit : {"clip", "shrink"}
        What is done where values leave [0, 1]: they are clipped, the field ``clipped`` says what share of them; or the
        contrast of the image is lowered about the mean of each colour until none does: the spectrum keeps its form.
    seed : int
        Phases hang on the seed, the image's id and the number of the copy.

    Returns
    -------
    StimulusSet
        ``image`` float32 in [0, 1] of the original's size, and ``clipped`` (stimulus,), the share of values out of
        [0, 1] before they were clipped.

    Raises
    ------
    OptionError
        If an option is outside what it means.

    Examples
    --------
    >>> import numpy as np
    >>> noise = StimulusSet.from_arrays(np.random.default_rng(0).uniform(0.3, 0.7, (2, 3, 16, 16)))
    >>> phase_scrambled(noise, n=2).ids[:2]
    ('0~phase_scrambled-0', '0~phase_scrambled-1')
    """
    if not 0 <= coherence <= 1:
        raise OptionError(f"coherence={coherence}: the weight of an image's own phases, 0 to 1")
    if fit not in _FITS:
        raise OptionError(f"no fit {fit!r}{near(fit, _FITS)}")

    stimuli, seed = as_set(stimuli), seed_of(seed)

    def make(row: int, copy: int, rng: np.random.Generator) -> Made:
        turned = scramble(as_float(stimuli.images([row])[0]), rng, coherence)
        image, outside = _fitted(turned, fit)
        if outside > _MANY:
            _LOG.info("%s, scrambled: %.1f %% of values clipped", stimuli.ids[row], 100 * outside)
        return {"image": image, "clipped": torch.tensor(outside)}

    recipe = {"made": "phase_scrambled", "coherence": float(coherence), "fit": fit, "seed": seed}
    columns = {"coherence": float(coherence)}
    fields = ("image", "clipped")
    return varied_set(stimuli, make, n=n, recipe=recipe, columns=columns, fields=fields, code=["scrambling"])


def scramble(image: Tensor, rng: np.random.Generator, coherence: float = 0.0) -> Tensor:
    """Scramble the phases of one image, (3, y, x); float64, values may leave [0, 1]."""
    spectrum = torch.fft.rfft2(image.to(torch.float64))
    noise = torch.fft.rfft2(torch.from_numpy(rng.standard_normal(image.shape[-2:])))
    turn = coherence + (1 - coherence) * noise / noise.abs()
    turn = torch.where(turn.abs() < 1e-12, 1, turn)  # opposite phases of equal weight have no mean
    turn = turn / turn.abs()
    turn[0, 0] = 1  # the mean stays
    return torch.fft.irfft2(spectrum * turn, s=image.shape[-2:])


def _fitted(image: Tensor, fit: Fit) -> tuple[Tensor, float]:
    """Bring values into [0, 1]; the share of them that was cut off."""
    if fit == "shrink":
        mean = image.mean((1, 2), keepdim=True)
        room = torch.where(image > mean, (1 - mean) / (image - mean), mean / (mean - image))
        image = mean + (image - mean) * min(1.0, float(room[image != mean].min()) if (image != mean).any() else 1.0)
    slack = 1e-9  # of transforms there and back
    outside = ((image < -slack) | (image > 1 + slack)).to(torch.float64).mean()
    return image.clamp(0, 1).to(torch.float32), float(outside)
