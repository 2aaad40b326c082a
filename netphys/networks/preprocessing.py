"""What a network wants done to an image: one declared, hashable object, stored with every recording.

Images come as uint8 (n, 3, y, x) or float in [0, 1]; they are resized, cropped, scaled and normalised on the device,
in batches, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from netphys.errors import StimulusError

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocess"]


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
        size = self._resized(size)
        return size if self.crop is None else _pair(self.crop)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for digests and files."""
        return asdict(self)

    def _prepare(self, images: torch.Tensor, device: Any) -> torch.Tensor:
        import torch

        values = images.to(device).to(torch.float32)
        if images.dtype == torch.uint8:
            values = values / 255
        values = self._crop(self._resize(values))
        if self.mean != (0.0, 0.0, 0.0) or self.std != (1.0, 1.0, 1.0):
            mean, std = (torch.tensor(each, device=values.device).view(3, 1, 1) for each in (self.mean, self.std))
            values = (values - mean) / std
        return values

    def _resized(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.resize is None:
            return size
        if not isinstance(self.resize, int):
            return self.resize
        short = min(size)
        return (int(self.resize * size[0] / short), int(self.resize * size[1] / short))

    def _resize(self, values: torch.Tensor) -> torch.Tensor:
        import torch

        target = self._resized((values.shape[-2], values.shape[-1]))
        if target == tuple(values.shape[-2:]):
            return values
        if self.interpolation == "nearest":
            return torch.nn.functional.interpolate(values, target, mode="nearest-exact")
        resized = torch.nn.functional.interpolate(
            values, target, mode=self.interpolation, antialias=True, align_corners=False
        )
        return resized.clamp(0, 1)  # bicubic overshoots what a picture can hold

    def _crop(self, values: torch.Tensor) -> torch.Tensor:
        if self.crop is None:
            return values
        height, width = _pair(self.crop)
        y, x = values.shape[-2:]
        if y < height or x < width:
            raise StimulusError(f"an image of {y} x {x} cannot be cropped to {height} x {width}; resize it first")
        top, left = round((y - height) / 2), round((x - width) / 2)
        return values[..., top : top + height, left : left + width]


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size
