"""Treatments as objects, and sets that are treated when they are read."""

from __future__ import annotations

import json
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import netphys
from netphys.errors import AddressError, OptionError, StimulusError
from netphys.networks import Preprocess
from netphys.provenance import digest
from netphys.stimuli import StimulusSet
from netphys.stimuli.treatment import (
    Aperture,
    Bandpass,
    Blur,
    Brightness,
    Clip,
    Contrast,
    Crop,
    Field,
    Flip,
    Grey,
    Highpass,
    Histogram,
    Joint,
    Lowpass,
    Luminance,
    Pad,
    Rescale,
    Resize,
    Rotate,
    Spectrum,
    Treatment,
    treat,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (7, 3, 20, 24), dtype=np.uint8)
TABLE = pd.DataFrame({"stimulus_id": list("abcdefg"), "degrees": [2.0, 4, 2, 4, 2, 4, 2]})
ALL = (
    "field(8, 32, interpolation=bicubic) | rotate(20) | flip() | grey() | contrast(0.7) | brightness(0.05) | blur(0.7)"
    " | bandpass(2, 12) | lowpass(10) | highpass(0.2, unit=degree) | luminance() | histogram(ground=0.5) | spectrum()"
    " | joint(iterations=2) | rescale(about=grey) | aperture(edge=0.2) | resize(20) | crop(18) | pad(22) | clip()"
)


def _set(**options: object) -> StimulusSet:
    return StimulusSet.from_arrays(PIXELS, metadata=TABLE, **options)


def _everything(shown: StimulusSet, field: str = "image") -> torch.Tensor:
    return shown.get(np.arange(len(shown)), field)


# The object


def _sizes() -> st.SearchStrategy:
    side = st.integers(1, 500)
    return side | st.tuples(side, side)


def _numbers(low: float, high: float) -> st.SearchStrategy:
    return st.floats(low, high, allow_nan=False, exclude_min=True) | st.integers(int(low) + 1, max(int(high), 1))


_SHARE, _GROUND = st.floats(0, 1), st.floats(0, 1)
_KIND, _CHANNEL = st.sampled_from(["rotational", "full"]), st.sampled_from(["grey", "lightness"])
_INTERPOLATION = st.sampled_from(["bilinear", "bicubic", "nearest"])
_ORDER, _UNIT = st.none() | st.integers(1, 64), st.sampled_from(["image", "degree", "pixel"])
STEPS = st.one_of(
    st.builds(Grey, st.sampled_from(["luma", "lightness", "linear"])),
    st.builds(Resize, _sizes(), _INTERPOLATION),
    st.builds(Crop, _sizes()),
    st.builds(Pad, _sizes(), _GROUND),
    st.builds(Field, _numbers(0, 360), st.integers(1, 300), st.none() | _numbers(0, 360), _GROUND, _INTERPOLATION),
    st.builds(Rotate, st.floats(-360, 360), _GROUND),
    st.builds(Flip, st.sampled_from(["horizontal", "vertical"])),
    st.builds(Contrast, st.floats(-100, 100), st.just("mean") | _SHARE),
    st.builds(Brightness, st.floats(-1, 1)),
    st.builds(Blur, _numbers(0, 100)),
    st.builds(Lowpass, _numbers(0, 100), _ORDER, _UNIT),
    st.builds(Highpass, _numbers(0, 100), _ORDER, _UNIT),
    st.builds(Bandpass, st.floats(1, 5), st.floats(6, 10), _ORDER, _UNIT),
    st.builds(Aperture, st.floats(0.5, 2), st.floats(0, 0.25), _GROUND, _UNIT),
    st.builds(Clip),
    st.builds(Rescale, st.sampled_from(["range", "grey"])),
    st.builds(Luminance, st.none() | _SHARE, st.none() | st.floats(0, 0.5), st.none() | _GROUND, _CHANNEL),
    st.builds(Histogram, st.none() | _GROUND, _CHANNEL),
    st.builds(Spectrum, _KIND, _CHANNEL),
    st.builds(Joint, st.integers(1, 1000), _KIND, st.sampled_from(["histogram", "spectrum"]), _CHANNEL),
)


@settings(max_examples=60, deadline=None, database=None, derandomize=True)
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_text_and_plain_data_make_the_same_treatment_again(steps: list) -> None:
    made = Treatment(*steps)
    again = Treatment.from_text(str(made))
    assert again == made and hash(again) == hash(made) and str(again) == str(made)
    assert digest(again.to_dict()) == digest(made.to_dict())
    assert eval(repr(made), {"Treatment": Treatment}) == made
    assert Treatment.from_dict(json.loads(json.dumps(made.to_dict()))) == made


def test_text_says_what_differs_from_the_defaults() -> None:
    made = Treatment(Grey(), Resize((64, 96)), Luminance(sd=0.2), Field(8, 224), Lowpass(4, order=None))
    assert str(made) == "grey() | resize((64, 96)) | luminance(sd=0.2) | field(8, 224) | lowpass(4, order=none)"
    assert Treatment.from_text("lowpass(4.0,unit='image')|grey(luma)") == Treatment(Lowpass(4), Grey())
    assert Treatment(Grey()) | Treatment(Clip()) == Treatment(Grey(), Clip())
    assert Treatment(Grey(), Clip()) != Treatment(Clip(), Grey())
    assert Treatment("grey() | blur(2)") == Treatment(Grey(), Blur(2))
    assert Treatment.from_text("joint(5)") == Treatment(Joint(5)) == Treatment(Joint(iterations=5))
    assert str(Treatment(Joint(5, "full"))) == "joint(iterations=5, kind=full)"
    assert len({Treatment(Blur(1)), Treatment(Blur(1.0)), Treatment(Blur(2))}) == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gray()", "there is no step 'gray' of a treatment; near: 'grey'"),
        ("resize()", "resize needs size: resize(size, interpolation)"),
        ("resize(0)", "resize: size=0 is not a whole number from 1 to 8192"),
        ("resize(2.5)", "resize: size=2.5 is not a whole number"),
        ("resize(true)", "resize: size=True is not a whole number"),
        ("resize((1, 2, 3))", "is not a size in pixels, or two: (y, x)"),
        ("resize(9, bilinaer)", "resize: interpolation='bilinaer' is not one of bilinear, bicubic, nearest"),
        ("resize(9, size=3)", "resize is told size twice"),
        ("resize(9, sise=3)", "resize has no option 'sise'; near: 'size'"),
        ("grey(luma, 3)", "grey takes 1 option (weights), not 2"),
        ("blur(0)", "blur: sigma=0 is not a number above 0, at most 1000"),
        ("blur(none)", "blur: sigma=None is not a number"),
        ("luminance(mean=1.5)", "luminance: mean=1.5 is not a number of 0 or more, at most 1"),
        ("bandpass(4, 2)", "bandpass: low=4 is not below high=2"),
        ("aperture(0.5, 0.3)", "aperture: edge=0.3 is more than half of diameter=0.5"),
        ("contrast(2, about=median)", "contrast: about='median' is not a number"),
        ("resize(256", "is not understood at its end"),
    ],
)
def test_what_no_step_takes_is_said(text: str, said: str) -> None:
    with pytest.raises(OptionError) as raised:
        Treatment.from_text(text)
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_what_is_no_treatment_is_refused() -> None:
    with pytest.raises(OptionError, match="a treatment has at least one step: aperture, "):
        Treatment()
    with pytest.raises(OptionError, match="or of one text, as 'grey.. . resize.256.'; 'grey' is none"):
        Treatment("grey", "blur(2)")
    with pytest.raises(OptionError, match="; 3 is none"):
        Treatment(3)
    for nothing in ("", " "):
        with pytest.raises(OptionError, match=f"^'{nothing}' is empty; calls are wanted"):
            Treatment(nothing)
        with pytest.raises(OptionError, match="is empty; calls are wanted"):
            treat(_set(), nothing)
    with pytest.raises(AddressError, match="a name is wanted"):
        Treatment.from_text("|", error=AddressError)
    for plain in ({}, {"steps": "grey"}, {"steps": [{"weights": "luma"}]}, {"steps": [], "more": 1}, []):
        with pytest.raises(OptionError, match="a treatment as plain data is"):
            Treatment.from_dict(plain)
    with pytest.raises(OptionError, match="blur: sigma='2' is not a number"):
        Treatment.from_dict({"steps": [{"step": "blur", "sigma": "2"}]})


# A treated set


def test_a_treated_set_is_the_set_with_other_images() -> None:
    shown = _set(name="seven")
    treated = shown.treated("grey() | resize(10)")
    assert treated.ids == shown.ids and treated.name == "seven" and treated.treatment == "grey() | resize(10)"
    assert treated.metadata.equals(shown.metadata)
    images = _everything(treated)
    assert images.dtype == torch.float32 and images.shape == (7, 3, 10, 12) and 0 <= images.min() <= images.max() <= 1
    assert repr(treated) == "StimulusSet(seven: 7 stimuli; degrees; treated: grey() | resize(10))"
    assert shown.treatment == "" and torch.equal(_everything(shown), torch.from_numpy(PIXELS))  # left as it was


@pytest.mark.parametrize("how", ["bilinear", "bicubic", "nearest"])
@pytest.mark.parametrize("size", [11, (13, 40)])
def test_resizing_is_that_of_a_networks_preprocessing(how: str, size: int | tuple[int, int]) -> None:
    treated = treat(_set(), Treatment(Resize(size, how), Crop(11)))
    expected = Preprocess(size, 11, interpolation=how)(torch.from_numpy(PIXELS))
    assert torch.allclose(_everything(treated), expected, atol=1e-6)  # the same weights, added in another order


def test_a_picture_is_the_same_to_the_bit_whatever_is_read_beside_it() -> None:
    treated = treat(_set(), ALL)
    together = _everything(treated)
    assert together.shape == (7, 3, 22, 22) and together.dtype == torch.float32
    for index in range(7):
        assert torch.equal(treated.get([index])[0], together[index])
    assert torch.equal(treated.get([5, 1, 3]), together[[5, 1, 3]])
    assert torch.equal(_everything(treat(_set(), ALL)), together)  # and again


def test_a_subset_keeps_the_targets_and_the_digest_of_its_rows() -> None:
    treated = treat(_set(), ALL)
    some = treated.subset([4, 1])
    assert torch.equal(_everything(some), _everything(treated)[[4, 1]])
    assert some.treatment == treated.treatment and some.ids == ("e", "b")
    rows = treated._source.digests(np.arange(7))
    assert some._source.digests(some._rows) == [rows[4], rows[1]]
    anew = treat(_set().subset([4, 1]), ALL)  # control: measured on two, the targets are others
    assert not torch.equal(_everything(anew), _everything(some)) and anew.digest != some.digest


def test_targets_can_be_those_of_another_set() -> None:
    shown, other = _set().subset([0, 1, 2]), _set().subset([3, 4, 5, 6])
    text = "grey() | resize((20, 20)) | histogram() | spectrum()"
    as_other = treat(shown, text, like=other)
    assert not torch.equal(_everything(as_other), _everything(treat(shown, text)))
    both = treat(shown + other, text, like=other)
    assert torch.equal(_everything(both)[:3], _everything(as_other))
    assert as_other.digest != treat(shown, text).digest and as_other.digest == both[:3].digest


def test_every_option_the_order_and_the_targets_change_the_digest() -> None:
    texts = ["blur(1)", "blur(1.5)", "grey()", "grey(lightness)", "grey() | blur(1)", "blur(1) | grey()"]
    texts += ["grey() | luminance()", "grey() | luminance(mean=0.5)", "grey() | histogram()"]
    digests = [treat(_set(), each).digest for each in texts]
    assert len({*digests, _set().digest}) == len(texts) + 1
    assert treat(_set(), "blur(1.0)").digest == digests[0]
    other = StimulusSet.from_arrays(PIXELS[::-1].copy(), metadata=TABLE)
    assert treat(other, "blur(1)").digest != digests[0]
    narrow = StimulusSet.from_arrays(PIXELS, metadata=TABLE.assign(degrees=2.0))
    assert treat(narrow, "field(8, 32)").digest != treat(_set(), "field(8, 32)").digest


def test_the_order_of_steps_matters() -> None:
    def done(text: str) -> torch.Tensor:
        return _everything(treat(_set(), text))

    assert torch.allclose(done("blur(2) | contrast(3)"), done("contrast(3) | blur(2)"), atol=1e-5)  # both are linear
    assert (done("blur(2) | contrast(3)") - done("contrast(3) | clip() | blur(2)")).abs().max() > 0.01
    assert (done("grey() | crop(9) | histogram()") - done("grey() | histogram() | crop(9)")).abs().max() > 0.01


def test_values_are_clipped_once_at_the_end_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    treated = treat(_set(), "contrast(3) | contrast(0.5)")
    expected = 0.5 + 1.5 * (torch.from_numpy(PIXELS) / 255 - 0.5)
    with caplog.at_level(logging.WARNING, logger="netphys"):
        images = _everything(treated)
        _everything(treated)
    everyone = np.arange(7)
    assert torch.allclose(images, expected.clamp(0, 1), atol=1e-6)
    share = float(((expected < 0) | (expected > 1)).float().mean())
    assert treated._source.clipped_share(everyone) == pytest.approx(share)
    assert treated._source.clipped(everyone).mean() == pytest.approx(share)
    assert len(caplog.records) == 1  # said once
    assert f"clipped, {100 * share:.2f} % of those of the first 7 stimuli read" in caplog.text
    caplog.clear()
    assert not np.allclose(_everything(treat(_set(), "contrast(3) | clip() | contrast(0.5)")), images)  # control
    assert not caplog.records


def test_a_treatment_of_a_treated_set_says_that_there_was_a_clip_between() -> None:
    bent = treat(_set(), "contrast(3)").treated("contrast(0.5)")
    assert bent.treatment == "contrast(3) | clip() | contrast(0.5)"
    assert torch.equal(_everything(bent), _everything(treat(_set(), bent.treatment)))
    plain = treat(_set(), "grey() | blur(1)").treated(Treatment(Crop(8)))
    assert plain.treatment == "grey() | blur(1) | crop(8)"
    assert torch.allclose(_everything(plain), _everything(treat(_set(), plain.treatment)), atol=1e-7)
    assert treat(_set(), "grey() | contrast(9) | histogram()").treated("flip()").treatment.endswith("ram() | flip()")


def test_memory_is_flat_while_measuring() -> None:
    class Watched:
        fields = ("image",)
        most = 0

        def read(self, field: str, indices: np.ndarray) -> torch.Tensor:
            self.most = max(self.most, len(indices))
            return torch.rand(len(indices), 1, 8, 8, generator=torch.Generator().manual_seed(0)).repeat(1, 3, 1, 1)

        def digests(self, indices: np.ndarray) -> list:
            return [int(index) for index in indices]

    source = Watched()
    table = pd.DataFrame({"stimulus_id": [str(index) for index in range(300)]})
    treat(StimulusSet(source, table, name="many"), "histogram() | spectrum() | luminance()")
    assert 0 < source.most <= 32


# Other fields


def _fields() -> StimulusSet:
    rng = np.random.default_rng(1)
    fields = {
        "left": PIXELS, "right": PIXELS[::-1].copy(), "mask": rng.random((7, 2, 20, 24)) > 0.5,
        "label": rng.integers(0, 9, (7, 20, 24)), "depth": rng.random((7, 20, 24), dtype=np.float32),
        "boxes": rng.integers(0, 9, (7, 2, 4)), "latents": rng.random((7, 5), dtype=np.float32),
        "text": [f"word {index}" for index in range(7)], "sound": rng.random((7, 1, 50), dtype=np.float32),
    }  # fmt: skip
    return StimulusSet.from_arrays(PIXELS, metadata=TABLE, fields=fields)


def test_light_leaves_other_fields_alone_and_treats_both_eyes() -> None:
    shown, treated = _fields(), treat(_fields(), "grey() | luminance(mean=0.5)")
    assert treated.fields == shown.fields
    for field in ("mask", "label", "depth", "boxes", "latents", "sound"):
        assert torch.equal(_everything(treated, field), _everything(shown, field))
    assert treated.get([2], "text") == ["word 2"]
    assert torch.equal(_everything(treated, "left"), _everything(treated))
    assert torch.equal(_everything(treated, "right"), _everything(treated).flip(0))


def test_maps_follow_what_moves_the_image_and_what_cannot_follow_is_not_offered() -> None:
    shown, treated = _fields(), treat(_fields(), "flip() | resize((40, 48)) | pad(50) | contrast(0.5)")
    assert treated.fields == ("image", "left", "right", "mask", "label", "latents", "text", "sound")
    mask, label = _everything(treated, "mask"), _everything(treated, "label")
    assert mask.dtype == torch.bool and mask.shape == (7, 2, 50, 50) and label.dtype == torch.int64
    given = _everything(shown, "label").flip(-1)
    assert torch.equal(label[:, 5:45, 1:49], given.repeat_interleave(2, 1).repeat_interleave(2, 2))
    assert int(label[:, :5].abs().sum()) == 0 and not mask[..., 0].any()
    with pytest.raises(StimulusError, match="has no field 'depth'"):
        treated.get([0], "depth")


def test_clips_are_treated_frame_by_frame() -> None:
    clips = np.random.default_rng(2).integers(0, 256, (3, 4, 3, 20, 24), dtype=np.uint8)
    shown = StimulusSet.from_arrays(fields={"clip": clips})
    treated = treat(shown, "grey() | resize(12) | histogram()")
    frames = treat(StimulusSet.from_arrays(clips.reshape(12, 3, 20, 24)), "grey() | resize(12) | histogram()")
    assert torch.equal(_everything(treated, "clip").reshape(12, 3, 12, 14), _everything(frames))


def test_images_of_several_sizes() -> None:
    shown = StimulusSet.from_arrays([PIXELS[0], PIXELS[1][:, :10], PIXELS[2][:, :, :9]])
    kept = treat(shown, "grey() | histogram() | luminance()").get([0, 1, 2])
    assert [tuple(each.shape) for each in kept] == [(3, 20, 24), (3, 10, 24), (3, 20, 9)]
    assert treat(shown, "resize((8, 8)) | grey() | spectrum()").get([0, 1, 2]).shape == (3, 3, 8, 8)
    with pytest.raises(StimulusError, match="stimulus '1' is 10 x 24, others 20 x 24; put resize"):
        treat(shown, "grey() | spectrum()")


# Degrees


def test_the_column_degrees_says_what_images_span_afterwards() -> None:
    shown = _set()
    assert treat(shown, "field(8, 64)").metadata["degrees"].tolist() == [8.0] * 7
    assert treat(shown, "field(8, 64) | resize(32) | crop((32, 8))").metadata["degrees"].tolist() == [2.0] * 7
    assert treat(shown, "resize((10, 12)) | crop(6)").metadata["degrees"].tolist() == [1.0, 2, 1, 2, 1, 2, 1]
    assert treat(shown, "crop(6)").metadata["degrees"].isna().all()  # the treatment does not say how large images are
    assert "degrees" not in treat(StimulusSet.from_arrays(PIXELS), "crop(6)").metadata
    assert treat(StimulusSet.from_arrays(PIXELS), "field(8, 64, 2)").metadata["degrees"].tolist() == [8.0] * 7
    in_two = treat(treat(shown, "field(8, 64)"), "lowpass(1, unit=degree)")
    assert torch.allclose(_everything(in_two), _everything(treat(shown, "field(8, 64) | lowpass(1, unit=degree)")))


def test_degrees_that_nothing_says_are_asked_for() -> None:
    treated = treat(StimulusSet.from_arrays(PIXELS), "field(8, 64)")
    with pytest.raises(StimulusError, match="'0': say stimulus_degrees=, or give the metadata a column 'degrees'"):
        treated.get([0])
    with pytest.raises(StimulusError, match="lowpass needs the visual angle of stimulus '0': say field.*before it, or"):
        treat(StimulusSet.from_arrays(PIXELS), "lowpass(1, unit=degree)").get([0])
    lacking = StimulusSet.from_arrays(PIXELS, metadata=TABLE.assign(degrees=["2", "?", 2, 2, 2, 2, 2]))
    treat(lacking, "field(8, 64)").get([0])
    with pytest.raises(StimulusError, match="visual angle of stimulus 'b'"):
        treat(lacking, "field(8, 64)").get([1])


def test_what_has_no_picture_cannot_be_treated() -> None:
    with pytest.raises(StimulusError, match="words has nothing to treat: text are no pictures"):
        treat(StimulusSet.from_arrays(fields={"text": ["a", "b"]}, name="words"), "grey()")


def test_generated_scenes_are_treated_with_their_masks() -> None:
    shown = netphys.load_stimuli("world:scenes?n=2&size=32")
    treated = treat(shown, "grey() | crop(16)")
    assert "boxes" not in treated.fields and "latents" in treated.fields
    assert torch.equal(_everything(treated, "masks"), _everything(shown, "masks")[..., 8:24, 8:24])
    assert treated.conversions == shown.conversions
