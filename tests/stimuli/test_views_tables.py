"""Tables of views: torchvision's laws, keyed by sample, whatever the batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import stats
from torchvision.transforms import RandomResizedCrop

from netphys.errors import OptionError
from netphys.stimuli import Blur, Crop, Jitter, ViewLaw
from netphys.stimuli.view_tables import ViewTable

LAW = ViewLaw(
    size=(32, 32), crop=Crop(), flip=0.5, jitter=Jitter(0.8, 0.6, 0.4, 0.2), grey=0.2, blur=Blur((0.1, 2.0), 0.5)
)


def drawn(law: ViewLaw = LAW, n: int = 64, image_size: tuple[int, int] = (64, 64), **key: int) -> ViewTable:
    return law.table(range(n), image_size=image_size, **{"seed": 0, "epoch": 0, "view": 0, **key})


def boxes_differ(table: ViewTable) -> bool:
    return len(torch.unique(table.box, dim=0)) > len(table.box) // 2


def by_torchvision(n: int, image_size: tuple[int, int], crop: Crop) -> np.ndarray:
    image = torch.empty(1, *image_size)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return np.array([RandomResizedCrop.get_params(image, list(crop.scale), list(crop.ratio)) for _ in range(n)])


@pytest.mark.parametrize(
    ("n", "image_size", "crop"),
    [
        (3000, (64, 64), Crop()),
        pytest.param(100_000, (64, 64), Crop(), marks=pytest.mark.slow),
        pytest.param(100_000, (48, 96), Crop((0.4, 1.0)), marks=pytest.mark.slow),  # many fall back
    ],
)
def test_boxes_follow_the_law_of_torchvision(n: int, image_size: tuple[int, int], crop: Crop) -> None:
    ours = drawn(ViewLaw(crop=crop), n, image_size).box.numpy()
    top, left, height, width = by_torchvision(n, image_size, crop).T
    for mine, theirs in zip(ours.T, (top, left, height, width)):
        assert stats.ks_2samp(mine, theirs).pvalue > 0.01
    other = drawn(ViewLaw(crop=Crop((crop.scale[0] + 0.15, 1.0), crop.ratio)), n, image_size).box.numpy()
    assert stats.ks_2samp(other[:, 2], height).pvalue < 1e-6  # control: another law is seen


@pytest.mark.parametrize("image_size", [(20, 100), (100, 20), (50, 50)])
def test_where_no_try_fits_the_box_is_torchvisions_central_one(image_size: tuple[int, int]) -> None:
    crop = Crop(scale=(1.0, 1.0), ratio=(1.2, 1.3)) if image_size == (50, 50) else Crop(scale=(1.0, 1.0))
    theirs = by_torchvision(3, image_size, crop)
    assert (theirs == theirs[0]).all()
    assert np.array_equal(drawn(ViewLaw(crop=crop), 3, image_size).box.numpy(), theirs)


def test_every_box_lies_in_its_image() -> None:
    top, left, height, width = drawn(n=5000, image_size=(40, 56)).box.numpy().T
    assert top.min() >= 0 and left.min() >= 0 and height.min() > 0 and width.min() > 0
    top, left, height, width = drawn(ViewLaw(crop=Crop((0.1, 0.2))), 5000, (40, 56)).box.numpy().T
    assert (top + height).max() == 40 and (left + width).max() == 56  # small ones reach the last pixel
    assert top.min() == 0 and left.min() == 0


def test_aspects_are_uniform_in_their_logarithm() -> None:
    """An image so large that no side is rounded much, boxes so small that every try fits."""
    height, width = drawn(ViewLaw(crop=Crop((0.01, 0.02), (0.25, 4.0))), 5000, (100_000, 100_000)).box.numpy().T[2:]
    law = stats.uniform(np.log(0.25), np.log(16))
    assert stats.kstest(np.log(width / height), law.cdf).pvalue > 0.01
    assert stats.kstest(height * width / 1e10, stats.uniform(0.01, 0.01).cdf).pvalue > 0.01
    assert stats.kstest(width / height, stats.uniform(0.25, 3.75).cdf).pvalue < 1e-6  # control


def test_factors_orders_and_probabilities() -> None:
    n = 20_000
    table = drawn(n=n)
    for column, (low, high) in zip(table.factors.numpy().T, [(0.2, 1.8), (0.4, 1.6), (0.6, 1.4), (-0.2, 0.2)]):
        assert stats.kstest(column, stats.uniform(low, high - low).cdf).pvalue > 0.01
    assert stats.kstest(table.sigma.numpy(), stats.uniform(0.1, 1.9).cdf).pvalue > 0.01
    _, counts = np.unique(table.order.numpy(), axis=0, return_counts=True)
    assert len(counts) == 24 and stats.chisquare(counts).pvalue > 0.01
    for flags, p in ((table.flip, 0.5), (table.jittered, 0.8), (table.grey, 0.2), (table.blurred, 0.5)):
        assert abs(float(flags.double().mean()) - p) < 3 * (p * (1 - p) / n) ** 0.5  # 3 standard errors


def test_strong_jitter_has_no_negative_factor() -> None:
    factors = drawn(ViewLaw(jitter=Jitter(2.0, 0, 0, 0)), 2000).factors
    assert factors[:, 0].min() >= 0 and factors[:, 0].max() > 2.9
    assert (factors[:, 1:3] == 1).all() and (factors[:, 3] == 0).all()


def test_draws_of_a_sample_are_independent() -> None:
    """The largest correlation of any two columns, and of two views, is what chance gives."""
    n = 20_000
    columns = [
        torch.cat([table.box.double(), table.factors.double(), table.sigma[:, None].double(), table.flip[:, None]], 1)
        for table in (drawn(n=n), drawn(n=n, view=1))
    ]
    first, second = (each.numpy() for each in columns)
    between = np.corrcoef(first.T, second.T)[:10, 10:]
    assert np.abs(between).max() < 4.5 / n**0.5  # 100 correlations, standard error 1 / sqrt(n)
    assert np.abs(np.corrcoef(first.T)[4:, :4]).max() < 4.5 / n**0.5


def test_a_sample_has_the_same_row_in_every_batch() -> None:
    whole = drawn(n=100)
    shuffled = np.random.default_rng(0).permutation(100)
    for samples in (shuffled, shuffled[:7], torch.as_tensor(shuffled[3:4]), list(shuffled)):
        part = LAW.table(samples, seed=0, epoch=0, view=0, image_size=(64, 64))
        rows = torch.as_tensor(np.asarray(samples))
        assert all(torch.equal(mine, of_all[rows]) for mine, of_all in zip(part, whole))


@pytest.mark.parametrize("key", [{"seed": 1}, {"epoch": 1}, {"view": 1}])
def test_seed_epoch_and_view_draw_anew(key: dict[str, int]) -> None:
    assert not torch.equal(drawn().box, drawn(**key).box)
    assert torch.equal(drawn(**key).box, drawn(**key).box)


def test_what_a_law_leaves_out_changes_no_other_draw() -> None:
    without = ViewLaw(size=(32, 32), flip=0.5, jitter=LAW.jitter)
    assert torch.equal(drawn(without).flip, drawn().flip)
    assert torch.equal(drawn(without).factors, drawn().factors)
    assert torch.equal(drawn(without, 2).box, torch.tensor([[0, 0, 64, 64]] * 2, dtype=torch.int32))


def test_images_of_a_batch_get_boxes_of_their_own() -> None:
    table = drawn()
    assert boxes_differ(table)
    one_draw = ViewTable(*(column[:1].expand_as(column) for column in table))
    assert not boxes_differ(one_draw)  # control: one draw for the batch, as of a transform of a stacked batch


def test_no_generator_is_read_or_set() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    drawn()
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


def test_a_law_is_plain_hashable_and_says_itself() -> None:
    assert eval(repr(LAW)) == LAW and hash(eval(repr(LAW))) == hash(LAW)
    assert repr(ViewLaw(flip=0.5)) == "ViewLaw(flip=0.5)"
    assert json.loads(json.dumps(LAW.to_dict()))["crop"] == {"scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3]}
    assert LAW.to_dict() != ViewLaw().to_dict()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Crop(scale=(0, 1)), r"scale of Crop is \(smallest, largest\) in \(0, 1\], not \(0, 1\)"),
        (lambda: Crop(ratio=(2, 1)), r"ratio of Crop .* not \(2, 1\)"),
        (lambda: Jitter(-1, 0, 0, 0), "brightness of Jitter is a strength of 0 or more, not -1"),
        (lambda: Jitter(0, 0, 0, 0.6), r"hue of Jitter is in \[0, 0.5\] turns, not 0.6"),
        (lambda: Jitter(0, 0, 0, 0, p=2), "p of Jitter is a probability, not 2"),
        (lambda: Blur((0.0, 1.0)), r"sigma of Blur .* not \(0.0, 1.0\)"),
        (lambda: Blur((1.0, 1.0), kernel=4), "kernel of Blur is odd and above 0, .* not 4"),
        (lambda: ViewLaw(flip=-0.1), "flip of ViewLaw is a probability, not -0.1"),
        (lambda: ViewLaw(size=(0, 3)), r"size of ViewLaw is \(y, x\) in pixels, .* not \(0, 3\)"),
        (lambda: drawn(n=0) and LAW.table([[1]], seed=0, epoch=0, view=0, image_size=(8, 8)), r"not of shape \(1, 1\)"),
        (
            lambda: LAW.table(torch.empty(2, device="meta"), seed=0, epoch=0, view=0, image_size=(8, 8)),
            "numbers on the host, not on meta",
        ),
    ],
)
def test_mistakes_are_told(make: object, says: str) -> None:
    with pytest.raises(OptionError, match=says):
        make()  # type: ignore[operator]
