"""Views: torchvision's operations on given parameters, image by image or together, without asking the device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

import netphys.stimuli.views as views
from netphys.errors import StimulusError
from netphys.stimuli import Blur, Crop, Jitter, ViewLaw, apply_views, make_views
from netphys.stimuli.colour_jitter import shift_hue_
from netphys.stimuli.resizing import blur_weights, enlarged, enlarging_taps, resize_weights
from netphys.stimuli.view_tables import ViewTable

LAW = ViewLaw(
    size=(24, 24), crop=Crop(), flip=0.5, jitter=Jitter(0.8, 0.8, 0.8, 0.2), grey=0.2, blur=Blur((0.1, 2.0), 0.5)
)
ADJUST = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
ROUNDING = 1e-6  # a few float32 roundings of values in [0, 1]
ROUNDING_HUE = 2e-6  # six sextants magnify them


def noise(n: int, height: int = 32, width: int | None = None, seed: int = 0) -> Tensor:
    """White noise, of which every misplaced pixel shows; some images grey or with equal colours."""
    images = torch.rand(n, 3, height, width or height, generator=torch.Generator().manual_seed(seed))
    images[0] = images[0, :1]
    images[1, 1] = images[1, 2]
    images[2] = (images[2] * 2).round() / 2
    return images


def drawn(law: ViewLaw, images: Tensor, **key: int) -> ViewTable:
    size = (images.shape[2], images.shape[3])
    return law.table(range(len(images)), image_size=size, **{"seed": 0, "epoch": 0, "view": 0, **key})


def by_torchvision(image: Tensor, law: ViewLaw, table: ViewTable, n: int) -> Tensor:
    """Do by torchvision's functions what row `n` of a table says."""
    size = list(law.size or image.shape[1:])
    view = F.resized_crop(image, *table.box[n].tolist(), size, antialias=True)
    view = F.horizontal_flip(view) if table.flip[n] else view
    for operation in table.order[n].tolist() if table.jittered[n] and law.jitter else []:
        if getattr(law.jitter, ADJUST[operation].__name__.removeprefix("adjust_")) > 0:  # else left out, as there
            view = ADJUST[operation](view, float(table.factors[n, operation]))
    view = F.rgb_to_grayscale(view, 3) if table.grey[n] else view
    if table.blurred[n] and law.blur:
        sigma = float(table.sigma[n])
        view = F.gaussian_blur(view, [law.blur.kernel or 2 * int(3 * sigma) + 1] * 2, [sigma] * 2)
    return view


def error(images: Tensor, law: ViewLaw) -> float:
    """Return the largest difference from torchvision."""
    table = drawn(law, images)
    theirs = torch.stack([by_torchvision(image, law, table, n) for n, image in enumerate(images)])
    return float((apply_views(images, law, table) - theirs).abs().max())


@pytest.mark.parametrize(
    ("n_in", "n_out"), [((64, 64), (64, 64)), ((64, 64), (32, 32)), ((96, 96), (64, 64)), ((40, 30), (21, 50))]
)
@pytest.mark.parametrize("flip", [0.0, 0.5])
def test_crop_and_resize_is_torchvisions(n_in: tuple[int, int], n_out: tuple[int, int], flip: float) -> None:
    assert error(noise(60, *n_in), ViewLaw(size=n_out, crop=Crop(), flip=flip)) < ROUNDING


def test_resize_without_crop_is_torchvisions() -> None:
    for size in ((16, 16), (64, 48)):
        assert error(noise(4), ViewLaw(size=size)) < ROUNDING


@pytest.mark.parametrize("operation", range(4))
def test_each_colour_operation_is_torchvisions(operation: int) -> None:
    strength = [0.0, 0.0, 0.0, 0.0]
    strength[operation] = 0.5 if operation == 3 else 1.5
    law = ViewLaw(jitter=Jitter(*strength, p=1.0))
    assert error(noise(40), law) < (ROUNDING_HUE if operation == 3 else ROUNDING)


def test_grey_is_torchvisions() -> None:
    assert error(noise(8), ViewLaw(grey=1.0)) < ROUNDING


@pytest.mark.parametrize("kernel", [None, 3, 13, 23])
def test_both_blurs_are_torchvisions(kernel: int | None) -> None:
    images = noise(20, 40, 24).double()  # theirs in float64: in float32 its sum of 23 x 23 taps is 1e-6 off itself
    assert error(images, ViewLaw(blur=Blur((0.1, 2.0), 1.0, kernel))) < ROUNDING


def test_a_fixed_kernel_of_3_is_far_from_three_sigma() -> None:
    """Control of the two variants: they are two laws."""
    images = noise(8)
    narrow, wide = (
        make_views(images, ViewLaw(blur=Blur((2.0, 2.0), 1.0, kernel)), samples=range(8), seed=0, epoch=0, view=0)
        for kernel in (3, None)
    )
    assert narrow.std() > 1.5 * wide.std()


def test_blur_is_scipys_too() -> None:
    image, sigma = noise(4)[3], 1.7
    weights = blur_weights(torch.tensor([sigma]), 32, 5, truncate=3.0)[0]
    ours = weights @ image @ weights.T
    theirs = np.stack([gaussian_filter(plane, sigma, mode="mirror", radius=5) for plane in image.double().numpy()])
    assert np.abs(ours.numpy() - theirs).max() < ROUNDING


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_kernel_wider_than_the_image_goes_on_between_the_mirrors(n: int) -> None:
    weights = blur_weights(torch.tensor([3.0]), n, 4)[0].double().numpy()
    taps = np.exp(-0.5 * (np.arange(-4, 5) / 3.0) ** 2)
    padded = np.pad(np.eye(n), ((0, 0), (4, 4)), mode="reflect") if n > 1 else np.ones((1, 9))
    expected = np.array([[padded[j, i : i + 9] @ taps / taps.sum() for j in range(n)] for i in range(n)])
    assert np.abs(weights - expected).max() < ROUNDING


@pytest.mark.parametrize("size", [(24, 24), (40, 40), (17, 30)])
def test_the_whole_law_is_torchvisions(size: tuple[int, int]) -> None:
    assert error(noise(80), replace(LAW, size=size)) < 5e-6  # contrast and brightness up to 1.8 magnify those of hue


@pytest.mark.parametrize("strengths", [(0.8, 0, 0, 0.2), (0, 0.8, 0.8, 0), (0, 0, 0.5, 0.1), (0, 0, 0, 0)])
def test_laws_of_some_operations_keep_the_order_of_those(strengths: tuple[float, ...]) -> None:
    assert error(noise(60), ViewLaw(jitter=Jitter(*strengths))) < 5e-6


def test_the_order_of_jitter_is_seen() -> None:
    """Control: the same factors in another order, and hue after or before a clamp, are other views."""
    images, law = noise(40), ViewLaw(jitter=Jitter(0.8, 0.8, 0.8, 0.2, p=1.0))
    table = drawn(law, images)
    turned = table._replace(order=table.order.flip(1))
    assert (apply_views(images, law, table) - apply_views(images, law, turned)).abs().max() > 0.1
    bright, turns = images.transpose(0, 1) * 1.8, torch.full((40,), 0.15)
    clamped_before, clamped_after = bright.clamp(0, 1), bright.clone()
    shift_hue_(clamped_before, turns)
    shift_hue_(clamped_after, turns)
    assert (clamped_before - clamped_after.clamp(0, 1)).abs().max() > 0.1


def test_blur_and_grey_commute() -> None:
    images, blur = noise(8), ViewLaw(blur=Blur((0.5, 2.0), 1.0))
    both = replace(blur, grey=1.0)
    together = apply_views(images, both, drawn(both, images))
    apart = F.rgb_to_grayscale(apply_views(images, blur, drawn(blur, images)), 3)
    assert (together - apart).abs().max() < ROUNDING


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_the_identity_returns_the_input_bit_by_bit(dtype: torch.dtype) -> None:
    images = noise(5) if dtype != torch.uint8 else (noise(5) * 255).to(torch.uint8)
    expected = images / 255 if dtype == torch.uint8 else images
    nothing = ViewLaw(size=(32, 32), jitter=Jitter(0, 0, 0, 0, p=1.0))
    for law in (ViewLaw(), nothing):
        assert torch.equal(make_views(images, law, samples=range(5), seed=0, epoch=0, view=0), expected)
    flipped = make_views(images, ViewLaw(flip=1.0), samples=range(5), seed=0, epoch=0, view=0)
    assert torch.equal(flipped, expected.flip(-1)) and not torch.equal(flipped, expected)


def test_the_input_is_left_as_it_was() -> None:
    images = noise(20)
    before = images.clone()
    for law in (LAW, ViewLaw(), replace(LAW, size=None, crop=None)):
        view = make_views(images, law, samples=range(20), seed=0, epoch=0, view=0)
        view.zero_()
        assert torch.equal(images, before)


def test_one_by_one_is_together_in_any_order() -> None:
    images, samples = noise(70), np.arange(1000, 1070)
    together = make_views(images, LAW, samples=samples, seed=3, epoch=2, view=1)
    for n in range(0, 70, 7):
        alone = make_views(images[n : n + 1], LAW, samples=samples[n : n + 1], seed=3, epoch=2, view=1)
        assert (alone[0] - together[n]).abs().max() < ROUNDING
    shuffled = np.random.default_rng(0).permutation(70)
    again = make_views(images[shuffled], LAW, samples=samples[shuffled], seed=3, epoch=2, view=1)
    assert (again - together[shuffled]).abs().max() < ROUNDING
    wrong = make_views(images[shuffled], LAW, samples=samples, seed=3, epoch=2, view=1)
    assert (wrong - together[shuffled]).abs().max() > 0.1  # control: samples that are not shuffled along


def test_two_images_of_a_batch_are_cropped_differently() -> None:
    images = noise(4)[3:].expand(6, -1, -1, -1)
    law = ViewLaw(crop=Crop())

    def differ(table: ViewTable) -> bool:
        made = apply_views(images, law, table)
        return all((made[0] - each).abs().max() > 0.1 for each in made[1:])

    table = drawn(law, images)
    assert differ(table)
    assert not differ(ViewTable(*(column[:1].expand_as(column) for column in table)))  # control: one draw for all


@pytest.mark.parametrize("size", [(24, 24), (40, 40)])
@pytest.mark.parametrize("tile", [1, 10**9])
def test_views_do_not_hang_on_the_tiles(size: tuple[int, int], tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of one image each; and, as on a GPU, of all that are blurred and all that are not."""
    images, law = noise(90), replace(LAW, size=size)
    table = drawn(law, images)
    expected = apply_views(images, law, table)
    monkeypatch.setattr(views, "_TILE_BYTES", tile)
    assert (apply_views(images, law, table) - expected).abs().max() < ROUNDING


def test_autocast_does_not_round_views() -> None:
    images, law = noise(30), replace(LAW, size=(16, 16))
    table = drawn(law, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made = apply_views(images, law, table)
        assert (torch.eye(2) @ torch.eye(2)).dtype == torch.bfloat16  # control: it is on
    assert torch.equal(made, apply_views(images, law, table))


def asked(run: object) -> int:
    """Count how often a run waits for a number of a tensor."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()  # type: ignore[operator]
    waits = ("aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::unique")
    return sum(event.count for event in profiled.key_averages() if event.key in waits)


def test_nothing_is_asked_of_the_device() -> None:
    images = (noise(30) * 255).to(torch.uint8)
    for size in ((24, 24), (40, 40), None):
        law = replace(LAW, size=size)
        table = drawn(law, images)
        assert asked(lambda law=law, table=table: apply_views(images, law, table)) == 0
        held = images.to("meta")  # a device that has no numbers: whoever asks for one is refused
        assert apply_views(held, law, table).shape == (30, 3, *(size or (32, 32)))
    assert asked(lambda: images[images.sum((1, 2, 3)) > 0].float().mean().item()) >= 2  # control


def statistics(made: Tensor) -> Tensor:
    """Return mean, spread and correlation of neighbours of each view, (view, statistic)."""
    centred = made - made.mean((2, 3), keepdim=True)
    variance = centred.square().mean((2, 3)) + 1e-4
    across = (centred[..., 1:] * centred[..., :-1]).mean((2, 3)) / variance
    down = (centred[..., 1:, :] * centred[..., :-1, :]).mean((2, 3)) / variance
    spread = made.std(1).mean((1, 2))  # of colours
    return torch.cat([made.mean((2, 3)), variance.sqrt(), across, down, spread[:, None]], 1)


def off(made: Tensor, theirs: Tensor) -> float:
    """Return the largest difference of mean statistics, in standard errors."""
    a, b = statistics(made), statistics(theirs)
    se = (a.var(0) / len(a) + b.var(0) / len(b)).sqrt()
    return float(((a.mean(0) - b.mean(0)).abs() / se).max())


@pytest.mark.parametrize("n", [500, pytest.param(10_000, marks=pytest.mark.slow)])
def test_views_are_those_of_torchvisions_pipeline_in_distribution(n: int) -> None:
    smooth = torch.nn.functional.interpolate(noise(16, 8), size=(32, 32), mode="bicubic").clamp(0, 1)
    images = smooth.repeat(-(-n // 16), 1, 1, 1)[:n]
    pipeline = v2.Compose(
        [
            v2.RandomResizedCrop(24, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=0.5),
        ]
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.stack([pipeline(image) for image in images])
    key = {"samples": range(n), "seed": 0, "epoch": 0, "view": 0}
    assert off(make_views(images, LAW, **key), theirs) < 3  # standard errors
    weaker = replace(LAW, jitter=Jitter(0.4, 0.4, 0.4, 0.1), blur=Blur((0.1, 0.5), 0.5))
    assert off(make_views(images, weaker, **key), theirs) > 4  # control: another law is seen


def test_the_two_ways_to_enlarge_agree() -> None:
    images, start, length = noise(3), torch.tensor([0.0, 5.0, 31.0]), torch.tensor([32.0, 20.0, 1.0])
    flip = torch.tensor([0.0, 1.0, 0.0])
    taps = enlarging_taps(start, length, 40), enlarging_taps(start, length, 40, flip)
    gathered = enlarged(images, torch.arange(3), *taps)
    rows, columns = resize_weights(start, length, 32, 40), resize_weights(start, length, 32, 40, flip)
    assert (gathered - rows @ images.transpose(0, 1) @ columns.transpose(1, 2)).abs().max() < ROUNDING
    assert torch.allclose(rows.sum(-1), torch.ones(3, 40), atol=ROUNDING)


def test_no_views_of_no_images() -> None:
    made = make_views(torch.zeros(0, 3, 8, 8), replace(LAW, size=(4, 5)), samples=[], seed=0, epoch=0, view=0)
    assert made.shape == (0, 3, 4, 5)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (torch.zeros(2, 1, 8, 8), r"colour images \(image, 3, y, x\), not of shape \(2, 1, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "uint8 images, or of floats in \\[0, 1\\], not of torch.int64"),
        (torch.zeros(3, 3, 8, 8), "3 images for a table of 2 views: a row an image"),
    ],
)
def test_mistakes_are_told(images: Tensor, says: str) -> None:
    with pytest.raises(StimulusError, match=says):
        make_views(images, LAW, samples=range(2), seed=0, epoch=0, view=0)
