"""read_stereo: pairs that belong together, the sign of disparity, what does not fit."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from netphys.errors import NetphysError, OptionError, StimulusError
from netphys.stimuli import StimulusSet
from netphys.stimuli.readers.stereo import read_stereo

Y, X = 12, 40


def pair(seed: int, disparity: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A plane of noise whose points at x in the left picture are at x - d in the right one."""
    wide = np.random.default_rng(seed).integers(1, 256, (Y, X + disparity, 3), dtype=np.uint8)
    left, right = wide[:, :X], wide[:, disparity:]
    numbers = np.full((Y, X), 4 * disparity, dtype=np.uint8)
    numbers[:, :3] = 0
    return left, right, numbers


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write pictures: name → array; returns the folder."""

    def written(files: dict[str, np.ndarray], name: str = "pairs") -> Path:
        for file, array in files.items():
            path = tmp_path / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.endswith(".npy"):
                np.save(path, array)
            else:
                Image.fromarray(array).save(path)
        return tmp_path / name

    return written


def _parts(seeds: dict[str, int], pattern: str) -> dict[str, np.ndarray]:
    files = {}
    for name, seed in seeds.items():
        for part, array in zip(("left", "right", "disparity"), pair(seed)):
            files[pattern.format(name=name, part=part)] = array
    return files


@pytest.mark.parametrize(
    "pattern", ["{part}/{name}.png", "{name}_{part}.png", "{name}/{part}.png", "x/{part}/{name}.png"]
)
def test_pairs_are_found_by_their_names(write: Callable[..., Path], pattern: str) -> None:
    folder = write(_parts({"b": 2, "a": 1}, pattern))
    shown = StimulusSet.from_stereo(folder, disparity="disparity", scale=4)
    assert shown.fields == ("left", "right", "disparity") and [each[-1] for each in shown.ids] == ["a", "b"]
    for index, seed in enumerate((1, 2)):
        left, right, _ = pair(seed)
        assert np.array_equal(shown.get([index], "left")[0].numpy(), left.transpose(2, 0, 1))
        assert np.array_equal(shown.get([index], "right")[0].numpy(), right.transpose(2, 0, 1))
    assert StimulusSet.from_stereo(folder).fields == ("left", "right")


def test_a_point_at_x_is_at_x_minus_d(write: Callable[..., Path]) -> None:
    shown = StimulusSet.from_stereo(write(_parts({"a": 1}, "{part}/{name}.png")), disparity="disparity", scale=4)
    disparity = shown.get([0], "disparity")
    assert disparity.dtype == torch.float32 and disparity.shape == (1, Y, X)
    assert torch.isnan(disparity[0, :, :3]).all() and (disparity[0, :, 3:] == 5).all()  # 0 in the file is unknown
    left, right = (shown.get([0], field)[0].int() for field in ("left", "right"))

    def difference(sign: int) -> float:
        x = np.arange(10, 30)
        moved = x + sign * disparity[0, 0, 10:30].numpy().astype(int)
        return float((left[:, :, x] - right[:, :, moved]).abs().float().median())

    assert difference(-1) == 0
    assert difference(1) > 30 and difference(0) > 30  # controls: the other sign, no shift
    assert shown.conversions == {"disparity divided by 4, 0 is unknown": 1}


def test_metadata_names_columns_and_scale(write: Callable[..., Path]) -> None:
    folder = write(_parts({"a": 1, "b": 2}, "{name}/{part}.png"))
    table = "scene,eye0,eye1,depth,disparity_scale\nb,b/left.png,b/right.png,b/disparity.png,4\n"
    (folder / "metadata.csv").write_text(table + "a,a/left.png,a/right.png,a/disparity.png,8\n")
    shown = StimulusSet.from_stereo(folder, left="eye0", right="eye1", disparity="depth")
    assert shown.ids == ("b/left.png", "a/left.png") and shown.metadata["scene"].tolist() == ["b", "a"]
    assert [float(each[0, 9]) for each in shown.get([0, 1], "disparity")] == [5, 2.5]
    assert float(StimulusSet.from_stereo(folder, left="eye0", right="eye1", disparity="depth", scale=2).get(
        [0], "disparity")[0, 0, 9]) == 10  # fmt: skip  # what is said wins over the column
    more = StimulusSet.from_stereo(folder, left="eye0", right="eye1", fields={"map": "depth:values"})
    assert more.fields == ("left", "right", "map") and int(more.get([0], "map")[0, 0, 9]) == 20
    with pytest.raises(StimulusError, match="has no column 'left' of files; .*'eye0'"):
        read_stereo(folder)
    with pytest.raises(StimulusError, match="has no column 'dept' of files; near: 'depth'"):
        read_stereo(folder, left="eye0", right="eye1", disparity="dept")


def test_sixteen_bit_and_npy_disparities(write: Callable[..., Path]) -> None:
    left, right, _ = pair(1)
    fine = np.linspace(0, 60000, Y * X).reshape(Y, X).astype(np.uint16)
    floats = fine / np.float32(256)
    floats[3, 3] = np.inf
    files = {"left/a.png": left, "right/a.png": right}
    deep = StimulusSet.from_stereo(write({**files, "disp/a.png": fine}, "deep"), disparity="disp", scale=256)
    found = deep.get([0], "disparity")[0].numpy()
    assert np.isnan(found[0, 0]) and np.allclose(found.ravel()[1:], fine.ravel()[1:] / 256, rtol=1e-6)
    kept = StimulusSet.from_stereo(write({**files, "disp/a.npy": floats}, "kept"), disparity="disp")
    again = kept.get([0], "disparity")[0].numpy()
    assert np.isnan(again[3, 3]) and np.nanmax(np.abs(again - np.where(again == again, found, np.nan))) == 0


def test_the_digest_counts_both_eyes_and_their_order(write: Callable[..., Path], tmp_path: Path) -> None:
    folder = write(_parts({"a": 1}, "{part}/{name}.png"))
    digest = StimulusSet.from_stereo(folder).digest
    with zipfile.ZipFile(tmp_path / "pairs.zip", "w") as archive:
        for each in sorted(folder.rglob("*.png")):
            archive.write(each, each.relative_to(folder).as_posix())
    assert StimulusSet.from_stereo(tmp_path / "pairs.zip").digest == digest
    assert StimulusSet.from_stereo(folder, left="right", right="left").digest != digest


def test_pairs_of_two_sizes_are_refused_or_left_out(write: Callable[..., Path]) -> None:
    files = _parts({"a": 1, "b": 2, "c": 3}, "{name}_{part}.png")
    files["b_right.png"] = files["b_right.png"][:, :-1]
    folder = write(files)
    with pytest.raises(
        StimulusError, match="b_left.png has 40 x 12 pixels, b_right.png has 39 x 12; a pair has one size"
    ):
        read_stereo(folder)
    (folder / "c_left.png").write_bytes(b"no picture")
    kept = StimulusSet.from_stereo(folder, skip_broken=True)
    assert kept.ids == ("a",) and set(kept.left_out) == {"b_left.png", "c_left.png"}
    files["a_disparity.png"] = files["a_disparity.png"][:-2]
    folder = write(files, "other")
    with pytest.raises(StimulusError, match="a_left.png has 40 x 12 pixels, a_disparity.png has 40 x 10"):
        read_stereo(folder, disparity="disparity", scale=4)


def test_a_npy_of_another_size_is_refused_when_it_is_read(write: Callable[..., Path]) -> None:
    left, right, _ = pair(1)
    files = {"left/a.png": left, "right/a.png": right}
    for name, array, said in (
        ("n", np.ones((3, 4)), "has 4 x 3 values, .*left/a.png 40 x 12"),
        ("m", np.ones(5), "is .y, x.; this is"),
    ):
        shown = StimulusSet.from_stereo(write({**files, "d/a.npy": array}, name), disparity="d")
        with pytest.raises(StimulusError, match=said):
            shown.get([0], "disparity")


def test_errors_say_what_is_missing(write: Callable[..., Path], tmp_path: Path) -> None:
    files = _parts({"a": 1, "b": 2}, "{part}/{name}.png")
    folder = write(files)
    with pytest.raises(
        StimulusError, match="has no column 'disparity_scale'; scale= says .*Middlebury's small pictures 4"
    ):
        read_stereo(folder, disparity="disparity")
    for scale in (0, -1, float("nan")):
        with pytest.raises(OptionError, match="numbers in the file a pixel of disparity"):
            read_stereo(folder, disparity="disparity", scale=scale)
    (folder / "right/b.png").unlink()
    with pytest.raises(StimulusError, match=r"'left/b.png' has no partner right \(b\)"):
        read_stereo(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StimulusError, match="holds no pairs: no metadata.csv, no folders left/ and right/"):
        read_stereo(tmp_path / "empty")
    both = write({"left/a.png": files["left/a.png"], "left/a.bmp": files["left/a.png"]}, "both")
    with pytest.raises(StimulusError, match="holds two files left of a"):
        read_stereo(both)


def test_fuzz_only_errors_of_netphys_come_out(write: Callable[..., Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folder = write(_parts({"a": 1}, "{part}/{name}.png"))
    seeds = {each: each.read_bytes() for each in folder.rglob("*.png")}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for each, data in seeds.items():
            archive.writestr(each.relative_to(folder).as_posix(), data)
    counted = {"read": 0, "refused": 0}

    def attempt(place: Path) -> None:
        try:
            shown = StimulusSet.from_stereo(place, disparity="disparity", scale=4)
            assert len(shown.get([0], "left")) == len(shown.get([0], "right")) == len(shown.get([0], "disparity"))
        except NetphysError as error:
            assert "\n" not in str(error)
            counted["refused"] += 1
        else:
            counted["read"] += 1

    def damaged(data: bytes) -> bytes:
        values = bytearray(data)
        if rng.random() < 0.4:
            return bytes(values[: rng.integers(0, len(values))])
        for at in rng.integers(0, len(values), 4):
            values[at] = rng.integers(256)
        return bytes(values)

    for index in range(45):
        path, data = list(seeds.items())[index % 3]
        path.write_bytes(damaged(data))
        attempt(folder)
        path.write_bytes(data)
        (tmp_path / "x.zip").write_bytes(damaged(packed.getvalue()))
        attempt(tmp_path / "x.zip")
    for table in ("", "left,right\n", "left\na\n", "left,right\n../x.png,right/a.png\n",
                  "left,right,disparity\n1,2,3\n",
                  "left,right,disparity,disparity_scale\nleft/a.png,right/a.png,disparity/a.png,none\n"):  # fmt: skip
        (folder / "metadata.csv").write_text(table)
        attempt(folder)
    (folder / "metadata.csv").unlink()
    attempt(folder)
    assert counted["read"] > 3 and counted["refused"] > 60
