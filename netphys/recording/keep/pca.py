"""``pca``: principal components of a layer, fitted on a recording of other stimuli.

===========================================  ==========================================================
``pca?k=100&fit=OTHER.h5``                   the first 100 components of each layer in OTHER.h5
``pca?k=100&fit=OTHER.h5&whiten=true``       each divided by its standard deviation over the fit's stimuli
``pca?k=100&fit=OTHER.h5&same=true``         also where stimuli of the fit are among those recorded
===========================================  ==========================================================

A fit on the stimuli that are recorded makes components fit their noise and leaks test stimuli into what is trained on
the result, so it is refused unless told. The fit is a recording of the same network, of the same layers; where it kept
less than everything (``mean``), the same is kept first, and the components are of that.

Components take 4 D k bytes a layer, D the numbers of which they are (800,000 numbers and k = 100: 320 MB).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netphys.addresses import Query, integer
from netphys.errors import LayerNotFound, OptionError, RecordingError, near
from netphys.provenance import digest
from netphys.recording.keep.contract import Keep, as_keep
from netphys.recording.keep.flat_blocks import flat_blocks
from netphys.recording.keep.principal import Principal, principal_components
from netphys.recording.layers import Layer

if TYPE_CHECKING:
    import torch

    from netphys.recording.file.reading import Recording

__all__ = ["PCA"]

_BLOCK = 65536  # numbers of a stimulus that are centred at a time
_ROWS = 32  # stimuli of a matrix product, filled up: products choose their order of sums by the number of rows


class PCA:
    """Keep the first principal components of a layer.

    Parameters
    ----------
    fit : Recording or Path
        Of other stimuli, by the same network. It is read when a layer is first recorded, in blocks.
    k : int
        How many components; at most one less than the fit has stimuli, and no more than the layer has numbers.
    whiten : bool
        Divide each by its standard deviation over the fit's stimuli.
    same : bool
        Allow a fit on stimuli that are recorded.

    Raises
    ------
    OptionError
        If `k` is less than 1.
    RecordingError
        If `fit` is no recording, or does not say of which network and stimuli it is.
    """

    def __init__(self, fit: Recording | Path | str, k: int, *, whiten: bool = False, same: bool = False) -> None:
        from netphys.recording.file.reading import load_recording

        if isinstance(k, bool) or k != int(k) or k < 1:
            raise OptionError(f"k={k}: a whole number, at least 1")
        self.fit: Recording = load_recording(fit) if isinstance(fit, str | Path) else fit
        self.k, self.whiten, self.same = int(k), whiten, same
        self._inputs = _inputs(self.fit)
        self._before = _before(self.fit)
        self._principal: dict[str, Principal] = {}
        self._tensors: dict[tuple[str, str], tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    @classmethod
    def from_query(cls, query: Query) -> PCA:
        """Make what an address says."""
        k, fit = query.take("k", integer(1), None), query.take("fit", str, None)
        whiten, same = query.take("whiten", _flag, False), query.take("same", _flag, False)
        query.finish()
        if k is None or not fit:
            raise OptionError("a pca needs k= and fit=, the recording of other stimuli: pca?k=100&fit=OTHER.h5")
        return cls(fit, k, whiten=whiten, same=same)

    def __repr__(self) -> str:
        return f"PCA({self.address!r})"

    @property
    def address(self) -> str:
        """The text that makes it again; of a fit in memory its name stands for the file."""
        return f"pca?k={self.k}&fit={self.fit.path or self.fit.name}{self._options}"

    def plan(self) -> Mapping[str, Any]:
        """What the numbers depend on: the fit's contents, wherever it lies.

        ``keep`` is the address without the fit's path, for a digest that does not hang on it.
        """
        return {"keep": f"pca?k={self.k}{self._options}", "fit": self.digest, "of": self._before.address}

    @property
    def digest(self) -> str:
        """Digest of the fit: of a file its checksum, else of all that its numbers depend on."""
        made = self.fit.header.get("sha256") or self.fit.header.get("digest")
        shapes = {layer: list(self.fit.shape(layer)) for layer in self.fit.layers}
        return digest({"recording": made, "ids": list(self.fit.stimulus_ids), "shapes": shapes})

    def check(self, *, network: str, stimuli: str, stimulus_ids: Sequence[str], gradient_of: str | None = None) -> None:
        """See that the fit is of the network that is recorded, and of other stimuli.

        Parameters
        ----------
        network, stimuli : str
            Digests of what is recorded.
        stimulus_ids : sequence of str
            Of what is recorded.
        gradient_of : str, optional
            The scalar whose gradients are recorded, too.

        Raises
        ------
        RecordingError
            If it is of another network or scalar, or of stimuli that are recorded and `same` is not said.
        """
        if self._inputs["network"] != network:
            raise RecordingError(
                f"{self._fit_name} is a recording of another network ({self.fit.name}, by its weights or layers); "
                "record the fit with the network that is recorded now"
            )
        scalar = self.fit.header.get("provenance", {}).get("gradient_of")
        if gradient_of is not None and scalar != gradient_of:
            raise RecordingError(f"{self._fit_name} holds gradients of {scalar}, not of {gradient_of}")
        shared = set(self.fit.stimulus_ids) & set(stimulus_ids)
        if self.same or (self._inputs["stimuli"] != stimuli and not shared):
            return
        which = f"{len(shared)} of these stimuli ({min(shared)!r})" if shared else "these stimuli"
        raise RecordingError(
            f"{self._fit_name} was recorded of {which}: components are fitted on other stimuli; same=true allows it"
        )

    def dims(self, layer: Layer) -> tuple[str, ...]:
        """Names of the axes that are kept, behind ``stimulus``; a component is called a unit."""
        return ("unit",)

    def shape(self, layer: Layer) -> tuple[int, ...]:
        """Shape that is kept of one stimulus.

        Raises
        ------
        LayerNotFound
            If the fit has no such layer.
        RecordingError
            If the fit has another shape there, or too few stimuli for `k` components.
        """
        if layer.name not in self.fit.layers:
            raise LayerNotFound(f"{self._fit_name} has no layer {layer.name!r}{near(layer.name, self.fit.layers)}")
        found, expected = self.fit.shape(layer.name)[1:], self._before.shape(layer)
        if found != expected:
            raise RecordingError(
                f"layer {layer.name!r} is {found} in {self._fit_name} and {expected} here; record the fit at this size"
            )
        if self.k > min(len(self.fit) - 1, prod(found)):
            raise RecordingError(
                f"layer {layer.name!r} has {prod(found)} numbers and {self._fit_name} {len(self.fit)} stimuli: "
                f"k is at most {min(len(self.fit) - 1, prod(found))}, not {self.k}"
            )
        return (self.k,)

    def reduce(self, activation: torch.Tensor, layer: Layer) -> torch.Tensor:
        """Reduce (stimulus, unit, ...) to (stimulus, component)."""
        import torch

        values = self._before.reduce(activation.detach(), layer)
        return torch.cat([self._scores(part, layer.name) for part in values.split(_ROWS)])

    def measured(self, layer: Layer) -> Mapping[str, Any]:
        """Say what the components explain of the fit: ``explained_variance``, its ratios, and their sum."""
        found = self.principal(layer.name)
        ratios = found.variance / found.total
        return {
            "k": self.k,
            "n_stimuli": len(self.fit),
            "explained_variance": found.variance.tolist(),
            "explained_variance_ratio": ratios.tolist(),
            "explained": float(ratios.sum()),
            "same_stimuli": self.same,
        }

    def state_dict(self) -> Mapping[str, Any]:
        """Nothing: a fit is made again from its recording, to the same bits."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing to load."""

    def principal(self, layer: str) -> Principal:
        """Return the components of a layer, worked out when first asked for."""
        if layer not in self._principal:
            self._principal[layer] = principal_components(self.fit, layer, self.k)
        return self._principal[layer]

    def _scores(self, values: torch.Tensor, layer: str) -> torch.Tensor:
        """Return the components' scores of at most `_ROWS` stimuli."""
        import torch

        n, device = len(values), values.device
        mean, components, offset = self._on(device, layer)
        scores = torch.zeros((_ROWS, self.k), device=device)
        for first, block in flat_blocks(values, _BLOCK):
            last = first + block.shape[1]
            centred = torch.zeros((_ROWS, last - first), device=device)
            centred[:n] = block - mean[first:last]
            scores.addmm_(centred, components[first:last])
        return scores[:n] - offset

    def _on(self, device: torch.device, layer: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return mean, components and what float32 loses of the mean, on a device."""
        import torch

        key = (layer, str(device))
        if key not in self._tensors:
            found = self.principal(layer)
            mean, components = found.mean.astype(np.float32), found.components
            lost = (found.mean - mean) @ components
            if self.whiten:
                components, lost = (
                    components / np.sqrt(found.variance, dtype=np.float32),
                    lost / np.sqrt(found.variance),
                )
            made = [torch.from_numpy(np.asarray(each, dtype=np.float32)) for each in (mean, components, lost)]
            self._tensors[key] = (made[0].to(device), made[1].to(device), made[2].to(device))
        return self._tensors[key]

    @property
    def _options(self) -> str:
        return ("&whiten=true" if self.whiten else "") + ("&same=true" if self.same else "")

    @property
    def _fit_name(self) -> str:
        return f"the fit {self.fit.path or self.fit.name}"


def _inputs(fit: Recording) -> Mapping[str, str]:
    """Find the digests of the network and the stimuli that a recording is of."""
    inputs = fit.header.get("provenance", {}).get("inputs", {})
    if not isinstance(inputs, dict) or not all(isinstance(inputs.get(key), str) for key in ("network", "stimuli")):
        raise RecordingError(
            f"the fit {fit.path or fit.name} does not say of which network and stimuli it is; record it with netphys"
        )
    return inputs


def _before(fit: Recording) -> Keep:
    """Find what the fit kept; the same is kept before its components are."""
    kept = fit.header.get("keep") or fit.header["provenance"].get("options", {}).get("keep", "all")
    if kept.partition("?")[0] == "pca":
        raise RecordingError(f"the fit {fit.path or fit.name} holds principal components itself; fit on another one")
    return as_keep(kept)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("true or false")
    return text == "true"
