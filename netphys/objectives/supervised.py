"""Name the class of an image: softmax cross-entropy on labels.

References
----------
Krizhevsky A., Sutskever I. & Hinton G. (2012). ImageNet classification with deep convolutional neural networks. NIPS,
sections 3-5. Szegedy C. et al. (2016). Rethinking the Inception architecture. CVPR, section 7 (label smoothing).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netphys.errors import OptionError
from netphys.objectives.contract import Bits, Clock, Couples, Objective, Spec, Step
from netphys.objectives.heads import LinearHead, features, full_precision, n_features, output_shape, take_shapes
from netphys.objectives.laws import view_law

if TYPE_CHECKING:
    from netphys.ranks import Ranks

__all__ = ["Supervised"]


class Supervised(Objective):
    """Softmax cross-entropy of a linear head on the trunk's features (the mean over places of a map).

    The head starts at zero: the first loss is ln Q exactly.

    Parameters
    ----------
    trunk, size, normalise
        See :class:`~netphys.objectives.contract.Objective`.
    n_classes : int, optional
        How many classes there are, where no names are given (:meth:`set_classes`).
    smoothing : float
        Share ε of the target that is spread over all classes, in [0, 1). The loss then has the floor that
        :meth:`reference` calls ``oracle``.
    crop_scale, flip, jitter
        Law of the one view: see :func:`~netphys.objectives.laws.view_law`.
    shuffle : bool
        Negative control: while it learns, labels are shifted among the samples of the batch.
    """

    name = "supervised"
    couples = Couples.NONE
    reference_paper = "Krizhevsky, Sutskever & Hinton (2012)"

    names_json: Tensor
    counts: Tensor

    def __init__(
        self,
        trunk: nn.Module,
        *,
        size: tuple[int, int],
        normalise: Any = None,
        n_classes: int | None = None,
        smoothing: float = 0.0,
        crop_scale: tuple[float, float] = (0.35, 1.0),
        flip: bool = True,
        jitter: float = 0.0,
        shuffle: bool = False,
    ) -> None:
        super().__init__(trunk, size=size, normalise=normalise)
        if n_classes is not None and n_classes < 2:
            raise OptionError(f"n_classes={n_classes}: there is nothing to tell apart below 2")
        if not 0 <= smoothing < 1:
            raise OptionError(f"smoothing={smoothing} is no share in [0, 1)")
        self.smoothing = float(smoothing)
        self.shuffle = shuffle
        self.law = view_law(size, crop_scale=crop_scale, flip=flip, jitter=jitter)
        self._options = {
            "n_classes": n_classes, "smoothing": smoothing, "crop_scale": list(crop_scale), "flip": flip,
            "jitter": jitter, "shuffle": shuffle,
        }  # fmt: skip
        self.head = LinearHead(n_features(output_shape(trunk, size)), n_classes or 0)
        self.register_buffer("names_json", torch.zeros(0, dtype=torch.uint8))  # in the checkpoint, like everything
        self.register_buffer("counts", torch.zeros(n_classes or 0, dtype=torch.int64))  # of labels of the training set

    @property
    def needs(self) -> dict[str, Spec]:
        """An image, seen by one mild view, and its label."""
        return {"image": Spec("image", (3, *self.size), law=self.law), "label": Spec("label", ())}

    def options(self) -> dict[str, Any]:
        """Say every option that the result depends on."""
        return dict(self._options)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their numbers; empty where nobody gave them."""
        return tuple(json.loads(bytes(self.names_json.tolist()) or b"[]"))

    def set_classes(self, names: Sequence[str]) -> None:
        """Say what the labels are called: label i is the i-th name. Before the first step; the head starts anew.

        Raises
        ------
        OptionError
            If there are fewer than two, or not `n_classes`.
        """
        asked = self._options["n_classes"]
        if len(names) < 2 or len(set(names)) < len(names):
            raise OptionError(f"classes are two or more different names, not {list(names)!r:.100}")
        if asked is not None and asked != len(names):
            raise OptionError(f"n_classes={asked}, but the labels have {len(names)} classes ({names[0]!r}, ...)")
        if tuple(names) == self.classes:
            return
        device = self.counts.device
        self.names_json = torch.tensor(list(json.dumps(list(names)).encode()), dtype=torch.uint8, device=device)
        self._set_number(len(names))

    def fit_targets(self, batches: Iterable[Mapping[str, Tensor]]) -> None:
        """Count the labels of the training set.

        Raises
        ------
        OptionError
            If a label is outside the classes, or there is only one class.
        """
        labels = torch.cat([batch["label"].detach().cpu() for batch in batches])
        n = int(labels.max()) + 1
        if self.head.out_features == 0:
            if n < 2:
                raise OptionError(f"all {len(labels)} labels are of one class; there is nothing to tell apart")
            self._set_number(n)
        if n > self.head.out_features or int(labels.min()) < 0:
            raise OptionError(f"label {n - 1} is outside the {self.head.out_features} classes; labels count from 0")
        counts = torch.bincount(labels, minlength=self.head.out_features)
        self.counts.copy_(counts)

    def forward(self, batch: Mapping[str, Tensor], turn: str, at: Clock, ranks: Ranks) -> Step:
        """Name the classes, and say the loss (nats)."""
        images, labels = batch["image"], batch["label"]
        if self.head.out_features == 0:
            raise OptionError("supervised learning does not know its classes; call set_classes or give n_classes")
        if self.shuffle and self.training:
            labels = labels.roll(1 + at.step % max(len(labels) - 1, 1))
        f = features(self.trunk(self.normalise(images) if self.normalise else images))
        with full_precision(f):
            logits = self.head(f)
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.smoothing)
        right = (logits.detach().argmax(1) == labels).to(logits.dtype).mean()
        return Step(loss, {"loss": loss.detach(), "accuracy": right}, {"f": f, "p": logits})

    def reference(self, batch: Mapping[str, Tensor]) -> dict[str, float]:
        """Say the loss on this batch of all classes alike, of the training set's shares, of a perfect network."""
        q, eps = self.head.out_features, self.smoothing
        seen = self.counts.double().clamp_min(1)  # a class that was not counted would have no finite loss
        logs = ((1 - eps) * seen / seen.sum() + eps / q).log()
        labels = batch["label"].to(self.counts.device)
        held = nn.functional.cross_entropy(logs.expand(len(labels), -1), labels, label_smoothing=eps)
        smoothed = torch.tensor([1 - eps + eps / q, *[eps / q] * (q - 1)], dtype=torch.float64)
        return {"chance": math.log(q), "prior": float(held), "oracle": float(torch.special.entr(smoothed).sum())}

    def bits(self, losses: Mapping[str, float]) -> Bits:
        """Say the entropy of the label in the training set, and how much of it the network knows.

        With smoothing even a perfect network falls short of what is offered.
        """
        share = self.counts.double() / self.counts.sum()
        offered = float(torch.special.entr(share).sum()) / math.log(2)
        return Bits(offered, max(0.0, (losses["prior"] - losses["held_out"]) / math.log(2)))

    def control(self) -> dict[str, dict[str, Any]]:
        """Labels of other samples: accuracy on held-out samples must stay at chance."""
        return {"shuffled labels": {"shuffle": True}}

    def _set_number(self, n_classes: int) -> None:
        self.head.resize(n_classes)
        self.counts = self.counts.new_zeros(n_classes)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        take_shapes(self, state_dict, prefix, ("names_json", "counts"))
        super()._load_from_state_dict(state_dict, prefix, *rest)
