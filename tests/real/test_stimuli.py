"""Every set of real stimuli through the readers, with the counts and truths of its README."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from netphys.stimuli import StimulusSet, load_stimuli

Unpack = Callable[[str], Path]
SINGLE_ZIP = {
    "kriegeskorte92": "images.zip", "cichy78": "images.zip", "imagenet_sample": "images.zip",
    "tiny_imagenet": "images.zip", "camvid": "frames.zip",
}  # fmt: skip


def test_kriegeskorte92_in_the_order_of_its_rdms(unpacked: Unpack) -> None:
    shown = StimulusSet.from_folder(unpacked("kriegeskorte92"))
    assert len(shown) == 92 and tuple(shown.images(range(92)).shape) == (92, 3, 175, 175)
    counts = shown.metadata["category"].value_counts(sort=False)
    assert counts.tolist() == [12, 12, 12, 12, 23, 21]
    assert [each.split("/")[1] for each in shown.ids] == [f"{index:02d}.png" for index in range(1, 93)]


def test_cichy78(unpacked: Unpack) -> None:
    shown = StimulusSet.from_folder(unpacked("cichy78"))
    sizes = [tuple(each.shape[1:]) for each in shown.images(range(78))]
    assert len(shown) == 78 and sizes == list(zip(shown.metadata["height"], shown.metadata["width"], strict=True))
    assert sizes.count((224, 224)) == 61  # the others are a pixel larger on one side, as metadata.csv says


@pytest.mark.parametrize(("session", "n"), [("201025", 1200), ("210325", 640)])
def test_v4_cowley(unpacked: Unpack, session: str, n: int) -> None:
    shown = StimulusSet.from_folder(unpacked("v4_cowley") / f"images_{session}")
    assert len(shown) == n
    assert {tuple(images.shape[1:]) for _, images in shown.batches(64)} == {(3, 112, 112)}


def test_imagenet_sample_has_images_of_many_sizes(unpacked: Unpack) -> None:
    shown = StimulusSet.from_folder(unpacked("imagenet_sample"))
    table = shown.metadata
    assert len(shown) == 1000 and sorted(table["label"]) == list(range(1000))
    sizes = [tuple(each.shape[1:]) for _, images in shown.batches(50) for each in images]
    assert sizes == list(zip(table["height"], table["width"], strict=True))
    assert np.min(sizes, axis=0).tolist() == [56, 68]
    assert shown.conversions == {}  # all are RGB files here


def test_tiny_imagenet_says_its_grey_files(unpacked: Unpack) -> None:
    shown = StimulusSet.from_folder(unpacked("tiny_imagenet"))
    assert shown.metadata["split"].value_counts().to_dict() == {"train": 3250, "val": 750}
    assert shown.conversions == {"grey repeated": 101}
    assert shown.where("split == 'val'").metadata["label"].nunique() == 50
    table = shown.metadata
    area = (table["xmax"] - table["xmin"] + 1) * (table["ymax"] - table["ymin"] + 1) / 64**2
    assert area.mean() == pytest.approx(0.497, abs=0.0006)


def test_camvid_with_its_label_maps(unpacked: Unpack) -> None:
    shown = StimulusSet.from_folder(unpacked("camvid"), fields={"image": "file", "labels": "labels:values"})
    assert len(shown) == 110 and shown.metadata["split"].value_counts().to_dict() == {
        "train": 46,
        "val": 40,
        "test": 24,
    }
    labels = shown.get(range(110), "labels").numpy()
    share = np.bincount(labels.reshape(-1), minlength=12) / labels.size
    assert labels.shape[1:] == (180, 240) and labels.max() == 11
    # sky, building, road, pavement, tree, car, unlabelled: classes.csv numbers them
    named = dict(zip(("sky", "building", "road"), share[[0, 1, 3]], strict=True))
    for name, truth in (("road", 0.287), ("building", 0.269), ("sky", 0.141)):
        assert named[name] == pytest.approx(truth, abs=0.0006)


def test_stereo_middlebury_shifts_as_its_disparity_says(unpacked: Unpack) -> None:
    address = f"{unpacked('stereo_middlebury')}?left=left&right=right&disparity=disparity_left"
    shown = load_stimuli(address)
    assert len(shown) == 2 and shown.fields[:3] == ("left", "right", "disparity")
    left, right, shift = (shown.get([0], field)[0].numpy().astype(float) for field in ("left", "right", "disparity"))
    assert left.shape == (3, 375, 450) and shift.shape == (375, 450)
    assert (np.nanmin(shift), np.nanmax(shift)) == (5.5, 55.0)
    y, x = np.nonzero(np.isfinite(shift))
    moved = {sign: np.rint(x + sign * shift[y, x]).astype(int) for sign in (-1, 0, 1)}
    differences = {}
    for sign, to in moved.items():
        inside = (to >= 0) & (to < 450)
        pairs = np.abs(left[:, y[inside], x[inside]] - right[:, y[inside], to[inside]])
        differences[sign] = float(np.median(pairs.mean(0)))
    assert differences[-1] < 8 and min(differences[0], differences[1]) > 30  # README: 5.7 against 39.3 and 38.7


def test_davis_as_a_film_and_as_frames_with_masks(unpacked: Unpack) -> None:
    folder = unpacked("davis_car_shadow")
    frames = StimulusSet.from_folder(folder, fields={"image": "file", "mask": "mask:values"})
    masks = frames.get(range(40), "mask").numpy() > 0
    assert len(frames) == 40 and masks[0].mean() == pytest.approx(0.102, abs=0.0006)
    assert masks[-1].mean() == pytest.approx(0.0295, abs=0.0001)
    np.testing.assert_allclose(masks.mean((1, 2)), frames.metadata["mask_fraction"], atol=6e-6)
    clips = StimulusSet.from_video(folder / "frames", length=10)
    assert len(clips) == 4 and tuple(clips.get([3], "clip").shape) == (1, 10, 3, 180, 320)
    np.testing.assert_array_equal(clips.get([3], "clip")[0], frames.images(range(30, 40)))


def test_rgbd_poses_depth_in_millimetres_and_poses(unpacked: Unpack) -> None:
    fields = {"image": "color", "depth": "depth:values", "pose": "pose:numbers"}
    shown = StimulusSet.from_folder(unpacked("rgbd_poses"), fields=fields)
    depth, poses = (np.asarray(shown.get(range(25), field)) for field in ("depth", "pose"))
    assert tuple(shown.images([0]).shape) == (1, 3, 240, 320) and depth.shape == (25, 120, 160)
    assert (depth[0] == 0).mean() == pytest.approx(0.12, abs=0.006) and 500 < np.median(depth[depth > 0]) < 5000
    assert poses.shape == (25, 4, 4)
    assert np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1).sum() == pytest.approx(0.231, abs=0.0006)


def test_spoken_digits(unpacked: Unpack) -> None:
    shown = StimulusSet.from_sounds(unpacked("spoken_digits"))
    table = shown.metadata
    assert len(shown) == 120 and set(table["sample_rate"]) == {8000} and table["digit"].value_counts().eq(12).all()
    lengths = np.array([len(each) for each in shown.get(range(120), "sound")])
    np.testing.assert_array_equal(lengths, table["samples"])
    assert (round(lengths.min() / 8000, 2), round(lengths.max() / 8000, 2)) == (0.14, 1.31)
    faster = StimulusSet.from_sounds(unpacked("spoken_digits"), rate=16000)
    assert len(faster.get([0], "sound")[0]) == 2 * lengths[0]


def test_text(unpacked: Unpack) -> None:
    path = unpacked("text") / "tinyshakespeare.txt"
    words = StimulusSet.from_text(path, unit="word")
    assert len(words) == 202_651
    whole = StimulusSet.from_text(path, unit="document").get([0], "text")[0]
    assert len(whole) == 1_115_394 and len(set(whole)) == 65
    assert len(load_stimuli(f"{path}?unit=line")) == sum(bool(line.strip()) for line in whole.splitlines())


@pytest.mark.parametrize("name", SINGLE_ZIP)
def test_a_packed_set_is_read_in_place_and_is_the_same(name: str, real_data: Path, unpacked: Unpack) -> None:
    packed = load_stimuli(real_data / name / SINGLE_ZIP[name])
    assert packed.digest == StimulusSet.from_folder(unpacked(name)).digest


@pytest.mark.parametrize("name", ["kriegeskorte92", "imagenet_sample"])
def test_from_a_folder_and_from_hdf5_the_digest_is_the_same(name: str, unpacked: Unpack, tmp_path: Path) -> None:
    shown = StimulusSet.from_folder(unpacked(name))
    again = StimulusSet.from_hdf5(shown.to_hdf5(tmp_path / "set.h5"))
    assert again.digest == shown.digest and again.ids == shown.ids
    assert all((one == other).all() for one, other in zip(again.images(range(9)), shown.images(range(9)), strict=True))
    assert again.where("stimulus_id == stimulus_id")[:3].digest == shown[:3].digest
