"""Classic stimuli by address: values, lists, ranges; what is misspelt is refused with what is near."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch

from netphys.addresses import split_address
from netphys.errors import AddressError
from netphys.stimuli import StimulusSet
from netphys.stimuli.classic import CLASSIC, gratings, noise
from netphys.stimuli.classic.addresses import load_classic, values_of


def _load(address: str, **options: Any) -> StimulusSet:
    body, query = split_address(address)
    return load_classic(body.removeprefix("classic:"), query, **options)


def test_an_address_is_the_call_that_it_says() -> None:
    shown = _load(
        "classic:gratings?orientation=0:180:15&spatial_frequency=0.5,1&size=64&degrees=8&window=circle&diameter=4"
    )
    same = gratings(
        orientation=range(0, 180, 15), spatial_frequency=[0.5, 1], size=64, degrees=8, window="circle", diameter=4
    )
    assert len(shown) == 24 and shown.digest == same.digest and shown.name == "classic:gratings"
    assert torch.equal(shown.images([5]), same.images([5]))
    clip = _load("classic:bars?direction=0,90&speed=30&width=4&n_frames=4&size=32&blank=true&colour=red-green")
    assert clip.fields == ("clip",) and len(clip) == 3
    assert len(_load("classic:gratings?diameter=none,8&window=raised-cosine&size=32")) == 2
    assert _load("classic:checkerboards?window=none&check=4&size=32").metadata["window"].tolist() == ["none"]


def test_the_seed_of_the_call_holds_where_the_address_names_none() -> None:
    assert _load("noise?n=3&size=16", seed=7).digest == noise(3, size=16, seed=7).digest
    assert _load("noise?n=3&size=16&seed=1", seed=7).digest == noise(3, size=16, seed=1).digest
    assert _load("gratings?size=16", seed=7).digest == gratings(size=16).digest


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("1e-2", 0.01),
        ("0:0.3:0.1", [0, 0.1, 0.2]),
        ("0:1:0.3", [0, 0.3, 0.6, 0.9]),
        ("180:0:-60", [180, 120, 60]),
        ("0:2:1,7", [0, 1, 7]),
        ("a,b", ["a", "b"]),
        ("true", True),
        ("red-green", "red-green"),
    ],
)
def test_values(text: str, values: Any) -> None:
    assert values_of(text) == values


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("gratins?size=16", "no classic stimuli 'classic:gratins'; near: 'gratings'"),
        ("gratings?orientaton=3", "takes no option 'orientaton'; near: 'orientation'"),
        ("gratings?sf=1", "takes no option 'sf'; its options: orientation, direction, spatial_frequency, phase"),
        ("gratings?size=64,32", "size=64,32 is not understood (one value is wanted)"),
        ("gratings?size=large", "a whole number is wanted"),
        ("gratings?degrees=wide", "a number is wanted"),
        ("gratings?blank=3", "true or false is wanted"),
        ("gratings?orientation=0:180", "a range start:stop:step"),
        ("gratings?orientation=0:180:0", "its step not 0"),
        ("gratings?orientation=0:180:-1", "this range holds 0 values"),
        ("gratings?orientation=0:9:1e-9", "1 to 1000000 are wanted"),
        ("gratings?orientation=1,,2", "a value, several with commas"),
        ("noise?seed=x", "a whole number is wanted"),
    ],
)
def test_what_is_not_understood_is_refused_in_one_line(address: str, text: str) -> None:
    with pytest.raises(AddressError) as caught:
        _load(address)
    assert text in str(caught.value) and "\n" not in str(caught.value)


def test_every_generator_makes_a_set_of_its_defaults() -> None:
    assert {"gratings", "gabors", "bars", "checkerboards", "noise", "stereograms", "kinematograms"} == set(CLASSIC)
    for name in CLASSIC:
        shown = _load(f"classic:{name}?size=64")
        for field in shown.fields[:2]:
            assert len(shown.get([0], field)) == 1
        assert shown.name == f"classic:{name}" and shown.metadata["size"][0] == 64
        assert shown.metadata["unit"][0] == "pixel" and shown.metadata["degrees"].isna().all()


def test_names_are_listed_without_loading_torch() -> None:
    code = "import sys; from netphys.stimuli.classic import CLASSIC; list(CLASSIC); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
