"""The generated world: the same bits whatever is asked for, causes that are realised, pictures as promised."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
import torch
from scipy.stats import chi2
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from netphys.errors import OptionError, StimulusError
from netphys.stimuli.world import (
    LIKELY,
    MAX_OBJECTS,
    OBJECT_CLASSES,
    SCENE_CLASSES,
    Scenes,
    latent_features,
    render_scenes,
    scene_latents,
)
from netphys.stimuli.world.arithmetic import sine_cosine
from netphys.stimuli.world.hashing import Draws
from netphys.stimuli.world.noise import at_pixels, fractal, sample
from netphys.stimuli.world.parts import assemble, block, solid
from netphys.stimuli.world.rays import camera_rays, trace
from netphys.stimuli.world.scenes import rendered

CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Render small batches on one thread: on busy cores a second one waits longer than it helps (66 s against 13)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@lru_cache(maxsize=1)
def a_set() -> Scenes:
    """400 images of 32 pixels a side, for all tests that look at many."""
    return render_scenes(range(400), seed=7, size=32)


def luminance(images: torch.Tensor) -> np.ndarray:
    red, green, blue = images.double().unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue).numpy()


def spectrum_slope(maps: np.ndarray) -> float:
    """Slope of log power on log frequency, radial mean over images, Hann window, from 2 cycles an image on."""
    size = maps.shape[-1]
    window = np.hanning(size)[:, None] * np.hanning(size)[None]
    power = np.abs(np.fft.fft2((maps - maps.mean((1, 2), keepdims=True)) * window)) ** 2
    steps = np.fft.fftfreq(size) * size
    frequency = np.hypot(steps[:, None], steps[None])
    rings = np.arange(2, size // 2)
    mean = [power[:, np.abs(frequency - ring) <= 0.5].mean() for ring in rings]
    return float(np.polyfit(np.log(rings), np.log(mean), 1)[0])


# what is asked for changes nothing


@pytest.mark.parametrize("size", [32, 40])
def test_an_image_has_the_same_bits_in_any_batch(size):
    whole = render_scenes(range(24), seed=1, size=size)
    for chosen in ([0], [23], [5, 6], [17, 3, 3, 11], list(range(7, 20))):
        some = render_scenes(chosen, seed=1, size=size)
        assert torch.equal(some.images, whole.images[chosen])
        assert torch.equal(some.masks, whole.masks[chosen])
        assert torch.equal(some.boxes, whole.boxes[chosen])
        for name in ("x", "yaw", "albedo", "light", "variation"):
            assert np.array_equal(getattr(some.latents, name), getattr(whole.latents, name)[chosen])


def test_chunks_leave_no_trace(monkeypatch):
    whole = render_scenes(range(10), seed=2, size=32)
    monkeypatch.setattr("netphys.stimuli.world.scenes._PIXELS", 3 * 32 * 32)
    assert torch.equal(render_scenes(range(10), seed=2, size=32).images, whole.images)


def test_other_seeds_and_indices_are_other_images():
    first, second = (render_scenes(range(6), seed=seed, size=32).images for seed in (0, 1))
    assert not any(torch.equal(a, b) for a, b in zip(first, second))
    assert not torch.equal(first[0], first[1])
    far = render_scenes([2**40 + 3, 3], seed=0, size=32).images  # indices beyond 32 bits do not wrap
    assert not torch.equal(far[0], far[1])


def test_torchs_and_numpys_generators_are_left_alone():
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    before, numpy_before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    first = render_scenes([1], seed=0, size=32).images
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002
    torch.manual_seed(6)
    assert torch.equal(render_scenes([1], seed=0, size=32).images, first)


# what is drawn is what is promised


def test_shapes_types_and_range():
    scenes = render_scenes([4, 9], seed=0, size=48)
    assert scenes.images.shape == (2, 3, 48, 48) and scenes.images.dtype == torch.float32
    assert scenes.masks.shape == (2, MAX_OBJECTS, 48, 48) and scenes.masks.dtype == torch.bool
    assert scenes.boxes.shape == (2, MAX_OBJECTS, 4) and scenes.boxes.dtype == torch.int64
    assert float(scenes.images.min()) >= 0.0 and float(scenes.images.max()) <= 1.0
    assert len(render_scenes([], seed=0, size=32)) == 0
    assert "2 images of 48 x 48" in repr(scenes)


def test_exposure_is_sensible():
    light = luminance(a_set().images)
    assert 0.40 < light.mean() < 0.60
    assert light.mean((1, 2)).min() > 0.25 and light.mean((1, 2)).max() < 0.75
    assert (a_set().images >= 1.0).float().mean() < 0.005


def test_masks_are_disjoint_and_boxes_tight():
    scenes = a_set()
    assert int(scenes.masks.sum(1).max()) <= 1
    there = torch.from_numpy(scenes.latents.object_class >= 0)
    assert not scenes.masks[~there].any()
    assert not scenes.boxes[~there].any()
    for mask, (x0, y0, x1, y1) in zip(scenes.masks[there][:80], scenes.boxes[there][:80].tolist()):
        rows, columns = np.nonzero(mask.numpy())
        if len(rows):
            assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (x0, y0, x1, y1)
    torch.testing.assert_close(scenes.visible_area, scenes.masks.float().mean((2, 3)))


def test_the_main_object_is_whole_large_and_where_it_is_said_to_be():
    scenes = render_scenes(range(60), seed=3, size=64)
    latents, rows = scenes.latents, np.arange(60)
    box = scenes.boxes[rows, latents.main].double().numpy() / 64
    sides = (box[:, 2:] - box[:, :2]).max(1)
    # a mask counts a pixel that is more than half covered: half a pixel either side, thin tips a little more
    assert np.abs(sides - latents.size[rows, latents.main]).max() < 4 / 64
    middle = (box[:, :2] + box[:, 2:]) / 2
    assert np.abs(middle - np.stack([latents.x[:, 0], latents.y[:, 0]], 1)).max() < 3 / 64
    assert sides.min() > 0.35 and sides.max() < 0.68
    assert box.min() > 0.0 and box[:, 2:].max() < 1.0
    # alone, the same pixels: nothing stands before it
    alone = rendered(latents, size=64, device=CPU, absent=1)
    assert torch.equal(alone.masks[:, 0], scenes.masks[:, 0])


def test_taking_an_object_away_changes_its_pixels_and_its_shadows():
    latents = scene_latents(range(30), seed=4)
    full, without = (rendered(latents, size=48, device=CPU, absent=absent) for absent in (None, 0))
    changed = (full.images != without.images).any(1)
    mask = full.masks[:, 0]
    assert (changed & mask).sum() / mask.sum() > 0.995  # a pixel may have the background's colour by chance
    assert not without.masks[:, 0].any()
    # above the object only its own outline changes: shadows lie on the ground, below the horizon
    rows = (torch.arange(48) + 0.5)[None, :, None] / 48
    sky = rows < torch.from_numpy(latents.horizon)[:, None, None] - 1 / 48
    outline = torch.nn.functional.max_pool2d(mask.float()[:, None], 5, 1, 2)[:, 0] > 0
    assert not (changed & sky & ~outline).any()
    shadow = changed & ~outline
    darker = (full.images - without.images).sum(1)[shadow]
    assert shadow.any() and float(darker.max()) <= 1e-6


def test_every_object_is_seen():
    scenes = a_set()
    there = torch.from_numpy(scenes.latents.object_class >= 0)
    assert float((scenes.visible_area[there] > 0).float().mean()) > 0.98
    nominal = torch.from_numpy(scenes.latents.size[:, 0] ** 2)
    assert float((scenes.visible_area[:, 0] / nominal).min()) > 0.08  # a chair is mostly air


def test_the_scene_makes_objects_likely_as_the_table_says():
    latents = scene_latents(range(8000), seed=11)
    there = latents.object_class >= 0
    scene = np.repeat(latents.scene[:, None], MAX_OBJECTS, 1)[there]
    kind = latents.object_class[there]
    counts = np.zeros((len(SCENE_CLASSES), len(OBJECT_CLASSES)))
    np.add.at(counts, (scene, kind), 1)
    table = np.array(LIKELY)
    np.testing.assert_allclose(table.sum(1), 1.0)
    expected = counts.sum(1, keepdims=True) * table
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert statistic < chi2.isf(1e-4, counts.shape[0] * (counts.shape[1] - 1))

    def dependence(scenes: np.ndarray) -> float:
        shuffled = np.zeros_like(counts)
        np.add.at(shuffled, (scenes, kind), 1)
        independent = shuffled.sum(1, keepdims=True) * shuffled.sum(0, keepdims=True) / shuffled.sum()
        return float(((shuffled - independent) ** 2 / independent).sum())

    limit = chi2.isf(1e-4, (counts.shape[0] - 1) * (counts.shape[1] - 1))
    assert dependence(scene) > 50 * limit
    assert dependence(np.random.default_rng(0).permutation(scene)) < limit


def test_spectra_are_natural_and_white_noise_is_not():
    images = render_scenes(range(100), seed=5, size=64).images
    assert -2.4 < spectrum_slope(luminance(images)) < -1.7
    white = np.random.default_rng(0).normal(size=(100, 64, 64))
    assert abs(spectrum_slope(white)) < 0.1


# shape is the class, colour is not


def mask_shape(masks: torch.Tensor) -> np.ndarray:
    """Central moments to the fourth order, free of position and size."""
    weight = masks.double() / masks.sum((1, 2), keepdim=True)
    steps = torch.arange(masks.shape[-1], dtype=torch.float64)
    scale = masks.sum((1, 2)).double().sqrt()[:, None]
    x = (steps - (weight.sum(1) * steps).sum(1, keepdim=True)) / scale
    y = (steps - (weight.sum(2) * steps).sum(1, keepdim=True)) / scale
    orders = [(a, b) for a in range(5) for b in range(5 - a) if a + b >= 2]
    moments = torch.stack([(weight * (y**b)[:, :, None] * (x**a)[:, None]).sum((1, 2)) for a, b in orders], 1)
    return torch.cat([moments, moments.abs()], 1).numpy()


def test_shape_tells_the_class_and_colour_does_not():
    scenes = a_set()
    label = scenes.latents.object_class[:, 0]
    mask = scenes.masks[:, 0].float()
    colour = ((scenes.images * mask[:, None]).sum((2, 3)) / mask.sum((1, 2))[:, None]).numpy()
    coarse = torch.nn.functional.avg_pool2d(scenes.images, 8).flatten(1).numpy()
    reader = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.05)
    by_colour = cross_val_score(reader, colour, label, cv=4).mean()
    by_pixels = cross_val_score(reader, coarse, label, cv=4).mean()
    by_shape = cross_val_score(reader, mask_shape(scenes.masks[:, 0]), label, cv=4).mean()
    assert by_shape > 0.80
    assert by_colour < 0.50 and by_pixels < 0.60
    assert by_shape - max(by_colour, by_pixels) > 0.30


def test_latent_features_hold_the_class_and_shuffled_labels_do_not():
    features, names = latent_features(scene_latents(range(500), seed=8))
    assert features.shape == (500, len(names)) and features.dtype == np.float64
    assert {name.split(":")[0] for name in names} == {"object", "scene", "position", "size"}
    label = scene_latents(range(500), seed=8).object_class[:, 0]
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=100.0, max_iter=1000))
    assert cross_val_score(reader, features, label, cv=3).mean() > 0.995
    shuffled = np.random.default_rng(0).permutation(label)
    assert cross_val_score(reader, features, shuffled, cv=3).mean() < 0.125 + 4 * 0.015  # 4 standard errors of 500


def test_latent_features_of_a_rendered_set_leave_out_what_is_not_seen():
    scenes = a_set()
    features, names = latent_features(scenes)
    seen = scenes.visible_area.numpy() > 0
    for row in range(50):
        kinds = {OBJECT_CLASSES[k] for k, s in zip(scenes.latents.object_class[row], seen[row]) if k >= 0 and s}
        assert {names[k].split(":")[1] for k in np.flatnonzero(features[row, :8])} == kinds


def test_the_frame_has_one_row_an_image():
    latents = scene_latents([3, 1], seed=0)
    frame = latents.to_frame()
    assert list(frame["index"]) == [3, 1]
    assert {"scene", "object", "n_objects", "objects", "x", "y", "size", "rotation"} <= set(frame.columns)
    for row, (first, count, objects) in enumerate(zip(frame["object"], frame["n_objects"], frame["objects"])):
        assert objects.split(";")[0] == first and len(objects.split(";")) == count == latents.n_objects[row]


# the parts


def test_rays_meet_a_ball_and_a_box_where_geometry_says():
    ball, box = solid((0.1, 0.0, 0.3), (0.5, 0.5, 0.5), 0), block((0.1, 0.0, 0.3), (0.5, 0.2, 0.4), 0)
    x = y = torch.linspace(-0.8, 0.8, 33)[None]
    squared = (x[:, None, :] - 0.1) ** 2 + y[:, :, None] ** 2
    inside = squared < 0.249
    distance = trace(assemble([ball], 1, CPU), camera_rays(x, y)).distance
    torch.testing.assert_close(distance[inside], -(0.3 + (0.25 - squared[inside]).sqrt()), atol=1e-4, rtol=0)
    assert torch.isinf(distance[squared > 0.251]).all()
    distance = trace(assemble([box], 1, CPU), camera_rays(x, y)).distance
    hit = ((x[:, None, :] - 0.1).abs() < 0.49) & (y[:, :, None].abs() < 0.19)
    torch.testing.assert_close(distance[hit], torch.full_like(distance[hit], -0.7), atol=1e-4, rtol=0)
    assert torch.isinf(distance[(y[:, :, None].abs() > 0.21).expand_as(hit)]).all()


def test_a_hollow_part_is_hollow_and_the_nearer_part_is_seen():
    x = y = torch.tensor([[-0.45, 0.0, 0.45]])
    tube = solid((0.0, 0.0, 0.0), (0.5, 0.2, 0.5), 0, top=1.0, hole=0.8, along="z")
    assert torch.isinf(trace(assemble([tube], 1, CPU), camera_rays(x, y[:, 1:2])).distance[0, 0]).tolist() == [
        False,
        True,
        False,
    ]
    cup = solid((0.0, 0.0, 0.0), (0.5, 0.2, 0.5), 0, top=1.0, hole=0.8, floor=-0.5, along="z")
    depth = trace(assemble([cup], 1, CPU), camera_rays(x, y[:, 1:2])).distance[0, 0]
    torch.testing.assert_close(depth, torch.tensor([-0.2, 0.1, -0.2]), atol=1e-5, rtol=0)
    behind, front = block((0.0, 0.0, -1.0), (1.0, 1.0, 0.1), 0), block((0.0, 0.0, 1.0), (0.2, 1.0, 0.1), 0)
    for order, nearer in (([behind, front], 1), ([front, behind], 0)):
        part = trace(assemble(order, 1, CPU), camera_rays(x, y)).part[0, 1]
        assert part.tolist() == [1 - nearer, nearer, 1 - nearer]


# the randomness and the noise


def test_draws_are_uniform_independent_and_named():
    draws = Draws(0, torch.arange(4000))
    first, second = draws.uniform("a", 2).double().numpy(), draws.uniform("b", 2).double().numpy()
    numbers = np.concatenate([first, second], 1)
    assert np.abs(numbers.mean(0) - 0.5).max() < 4 * 12**-0.5 / 4000**0.5  # 4 standard errors
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 4 / 4000**0.5
    assert abs(np.corrcoef(first[:-1, 0], first[1:, 0])[0, 1]) < 4 / 4000**0.5  # neighbouring indices
    assert torch.equal(draws.of(torch.tensor([7])).uniform("a", 2), draws.uniform("a", 2)[7:8])
    share = (draws.choice("c", torch.tensor([0.2, 0.5, 0.3])) == 1).double().mean()
    assert abs(float(share) - 0.5) < 4 * 0.5 / 4000**0.5
    normal = draws.normal("d", sd=2.0).double()
    assert abs(float(normal.std()) - 2.0) < 0.1


def test_fractal_fields_are_one_over_f_and_periodic():
    field = fractal(Draws(0, torch.arange(60)), "test", grid=64, gains=(0.85, 0.5))
    assert -2.3 < spectrum_slope(field[:, 0].double().numpy()) < -1.7
    assert spectrum_slope(field[:, 1].double().numpy()) < -3.0  # the smoother one is steeper
    assert abs(float(field[:, 0].std()) - 1.0) < 0.25
    at = torch.rand(60, 5, 5, generator=torch.Generator().manual_seed(0))
    here, there = sample(field, at, at), sample(field, at + 1.0, at - 2.0)
    torch.testing.assert_close(here, there, atol=2e-3, rtol=0)  # at + 1 is rounded to 24 bits before it is read
    centres = ((torch.arange(40) + 0.5) / 40).expand(60, 40, 40)
    torch.testing.assert_close(sample(field, centres, centres.mT), at_pixels(field, 40), atol=1e-4, rtol=0)


def test_sine_and_cosine_by_polynomial():
    degrees = torch.linspace(-720.0, 720.0, 2001)
    sine, cosine = sine_cosine(degrees)
    exact = torch.deg2rad(degrees.double())
    assert float((sine - exact.sin()).abs().max()) < 2e-6  # a turn in float32 is good to 1e-7
    assert float((cosine - exact.cos()).abs().max()) < 2e-6


# mistakes


@pytest.mark.parametrize("size", [16, 31, 257, 64.0, True, "64"])
def test_a_size_that_is_none_is_refused_in_one_line(size):
    with pytest.raises(OptionError, match="32 to 256") as caught:
        render_scenes([0], size=size)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("indices", [[-1], [0, -5], [0.5], [[0, 1]], 3])
def test_indices_that_are_none_are_refused_in_one_line(indices):
    with pytest.raises(StimulusError) as caught:
        scene_latents(indices)
    assert "\n" not in str(caught.value)


def test_a_seed_that_is_none_is_refused():
    with pytest.raises(OptionError, match="no integer"):
        scene_latents([0], seed=0.5)
