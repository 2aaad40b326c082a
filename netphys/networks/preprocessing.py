"""What a network wants done to an image: one declared, hashable object, stored with every recording.

Images come as uint8 (n, 3, y, x) or float in [0, 1]; they are resized, cropped, scaled and normalised on the device,
in batches, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from netphys.colorimetry import lightness
from netphys.errors import OptionError, StimulusError, near
from netphys.framing import INTERPOLATIONS, crop_corner, cropped, pair, resized, resized_size
from netphys.resampling import resized_crop

if TYPE_CHECKING:
    import torch

__all__ = ["COLOURS_SEEN", "Preprocess"]

COLOURS_SEEN = ("rgb", "lightness")


@dataclass(frozen=True)
class Preprocess:
    """Resize, crop, scale to [0, 1], normalise.

    Parameters
    ----------
    resize : int or (int, int), optional
        ``(y, x)``: exactly this size, whatever the shape. An int: the shorter side, the shape kept. None: as it is.
    crop : int or (int, int), optional
        Centre crop after resizing, pixels.
    mean, std : three floats
        Of RGB in [0, 1]: ``(image - mean) / std``. Default: not normalised.
    interpolation : {"bilinear", "bicubic", "nearest"}
        How an image is resized; antialiased when made smaller, except ``"nearest"``.
    colour : {"rgb", "lightness"}
        ``"lightness"``: the network sees no colour but the image's CIE lightness / 100, on three equal channels.

    Examples
    --------
    >>> Preprocess(resize=(224, 224)).output_size((175, 175))
    (224, 224)
    """

    resize: int | tuple[int, int] | None = None
    crop: int | tuple[int, int] | None = None
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"
    colour: str = "rgb"

    def __call__(self, images: torch.Tensor | Sequence[torch.Tensor], device: Any = "cpu") -> torch.Tensor:
        """Prepare a batch.

        Parameters
        ----------
        images : tensor (n, 3, y, x), or list of tensors (3, y, x) of any sizes
            uint8 in 0..255, or float in [0, 1].
        device : torch.device
            Where it is done and stays.

        Returns
        -------
        tensor of float32 (n, 3, y', x')

        Raises
        ------
        StimulusError
            If images of several sizes still differ after resizing.
        """
        import torch

        if isinstance(images, torch.Tensor):
            return self._prepare(images, device)
        prepared = [self._prepare(image[None], device) for image in images]
        sizes = {tuple(each.shape[-2:]) for each in prepared}
        if len(sizes) > 1:
            shown = " and ".join(f"{y} x {x}" for y, x in sorted(sizes)[:2])
            raise StimulusError(f"images differ in size ({shown}) and the network does not resize; add ?resize=224")
        return torch.cat(prepared)

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Size (y, x) that an image of `size` has when the network sees it."""
        return resized_size(size, self.resize) if self.crop is None else pair(self.crop)

    def share_seen(self, size: tuple[int, int]) -> tuple[float, float]:
        """Share (y, x) of an image of `size` that is left when it has been resized and cropped."""
        before, after = resized_size(size, self.resize), self.output_size(size)
        return (after[0] / before[0], after[1] / before[1])

    def seen(self, images: torch.Tensor, device: Any = "cpu") -> torch.Tensor:
        """Resize and crop images (n, 3, y, x) as for the network, but leave their colours: float32 in [0, 1]."""
        return replace(self, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), colour="rgb")(images, device)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for digests and files."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocess:
        """Make one of plain data, as files hold it.

        Raises
        ------
        OptionError
            If a key is not known, or a value is not of its kind.
        """
        return _checked(cls, values)

    def _prepare(self, images: torch.Tensor, device: Any) -> torch.Tensor:
        import torch

        values = images.to(device)
        target = resized_size((values.shape[-2], values.shape[-1]), self.resize)
        resizes, scale = target != tuple(values.shape[-2:]), 255 if images.dtype == torch.uint8 else 1
        if resizes and self.interpolation == "bilinear" and values.device.type == "cpu":
            shape = target if self.crop is None else pair(self.crop)
            framed = resized_crop(values, target, crop_corner(target, shape), shape)
            return self.normalised((framed / scale).clamp_(0, 1))
        return self.normalised(self._framed(values.to(torch.float32) / scale))

    def normalised(self, values: torch.Tensor) -> torch.Tensor:
        """Turn images in [0, 1] (n, 3, y, x), already of the right size, into what the network sees."""
        import torch

        if self.colour == "lightness":
            values = (lightness(values) / 100).expand(-1, 3, -1, -1)
        if self.mean != (0.0, 0.0, 0.0) or self.std != (1.0, 1.0, 1.0):
            mean, std = (torch.tensor(each, device=values.device).view(3, 1, 1) for each in (self.mean, self.std))
            values = (values - mean) / std
        return values

    def _framed(self, values: torch.Tensor) -> torch.Tensor:
        """Resize and crop."""
        target = resized_size((values.shape[-2], values.shape[-1]), self.resize)
        if target != tuple(values.shape[-2:]):
            values = resized(values, target, self.interpolation).clamp(0, 1)  # bicubic overshoots what a picture holds
        return values if self.crop is None else cropped(values, self.crop)


def _checked(kind: type[Preprocess], values: Mapping[str, Any]) -> Preprocess:
    """Make a Preprocess of plain data that a stranger may have written."""
    known = [each.name for each in fields(kind)]
    for key in values:
        if key not in known:
            raise OptionError(f"preprocessing has no option {key!r}{near(key, known)}")
    made = dict(values)
    for key in ("resize", "crop"):
        made[key] = _side(key, made.get(key))
    for key in ("mean", "std"):
        if key in made:
            made[key] = _three(key, made[key])
    for key, choices in (("interpolation", INTERPOLATIONS), ("colour", COLOURS_SEEN)):
        if made.get(key, choices[0]) not in choices:
            raise OptionError(f"preprocessing: {key}={made[key]!r} is not one of {', '.join(choices)}")
    return kind(**made)


def _side(key: str, value: Any) -> int | tuple[int, int] | None:
    """Read a size in pixels: a number, two, or none."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value > 0):
        return value
    if (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(each, int) and each > 0 for each in value)
    ):
        return (value[0], value[1])
    raise OptionError(f"preprocessing: {key}={value!r} is no size in pixels, or two")


def _three(key: str, value: Any) -> tuple[float, float, float]:
    """Read a number a colour."""
    is_number = isinstance(value, list | tuple) and all(isinstance(each, int | float) for each in value)
    if not is_number or len(value) != 3 or (key == "std" and min(value) <= 0):
        raise OptionError(f"preprocessing: {key}={value!r} is not three numbers{' above 0' * (key == 'std')}")
    return (float(value[0]), float(value[1]), float(value[2]))
