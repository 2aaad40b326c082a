"""First-layer filters: taken as they act on an image, measured in frequency, drawn on one scale or each its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from netphys.errors import LayerNotFound, OptionError
from netphys.networks import Network, Preprocess
from netphys.units.filter_spectra import amplitude_spectra, circular_responses, peaks_and_bandwidths
from netphys.units.filters import FilterBank, first_layer_filters
from netphys.units.gabor import gabor


class Before(nn.Module):
    """Something, and then a convolution."""

    def __init__(self, before: nn.Module, convolution: nn.Module | None = None) -> None:
        super().__init__()
        self.last = nn.Conv2d(4, 2, 3)  # defined first, runs last
        self.before = before
        self.conv = convolution or nn.Conv2d(3, 4, 7, 2, 3)
        self.n_forwards = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.last(self.conv(self.before(images)))


class Halved(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images - 0.5) * images.new_tensor([2.0, 1.0, 0.5]).view(3, 1, 1)


class Grey(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return (images * images.new_tensor([0.3, 0.6, 0.1]).view(3, 1, 1)).sum(1, keepdim=True)


class Standardised(nn.Conv2d):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(images, weight, self.bias, self.stride, self.padding)


def centre_responses(network: Network, images: torch.Tensor, path: str) -> np.ndarray:
    """What the layer answers at one place in the middle, by a forward."""
    kept = {}
    handle = network.module.get_submodule(path).register_forward_hook(lambda *a: kept.update(out=a[2].detach()))
    with torch.no_grad():
        network.module(network.prepare(images))
    handle.remove()
    out = kept["out"]
    return out[:, :, out.shape[2] // 2, out.shape[3] // 2].numpy()


def bank_of(filters: np.ndarray, colour: str = "rgb") -> FilterBank:
    return FilterBank(filters.astype(np.float32), colour, "conv", "planted", "none", (1, 1), "(0, 0)")


def planted_bank() -> FilterBank:
    rng = np.random.default_rng(0)
    n = 16
    parameters = np.stack(
        [0 * np.ones(n), 0 * np.ones(n), np.arange(n) * 180 / n, np.full(n, 0.2), np.full(n, 1.8), np.full(n, 2.2),
         rng.uniform(-180, 180, n), np.ones(n), np.zeros(n)], axis=1
    )  # fmt: skip
    axes = np.abs(rng.normal(size=(n, 3)))
    return bank_of(axes[:, :, None, None] * gabor(9, parameters)[:, None])


# --- weights as they act on the image --------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [nn.Identity(), Halved(), Grey()], ids=lambda each: type(each).__name__)
def test_filters_say_what_the_layer_answers_to_a_change_of_the_image(before: nn.Module) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 4, 7, 2, 3) if isinstance(before, Grey) else None
    preprocess = Preprocess(mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.5))
    network = Network(Before(before, convolution), preprocess)
    bank = first_layer_filters(network)
    assert bank.layer == "conv" and bank.filters.shape == (4, 3, 7, 7) and bank.filters.dtype == np.float32
    images = torch.rand(2, 3, 31, 31)
    answers = centre_responses(network, images, "conv")
    place = 2 * (16 // 2)  # the middle output looks at the pixel 2 x 8
    patch = (images[0] - images[1])[:, place - 3 : place + 4, place - 3 : place + 4].numpy()
    expected = np.einsum("ucyx,cyx->u", bank.filters, patch)
    assert np.abs(answers[0] - answers[1] - expected).max() < 1e-5  # float32
    raw = network.module.conv.weight.detach().numpy()
    raw = np.broadcast_to(raw, bank.filters.shape)  # control: the bare weights do not
    assert np.abs(answers[0] - answers[1] - np.einsum("ucyx,cyx->u", raw, patch)).max() > 1e-2


def test_an_untouched_layer_is_given_to_the_bit() -> None:
    module = Before(nn.Identity())
    assert np.array_equal(first_layer_filters(module).filters, module.conv.weight.detach().numpy())


def test_lightness_is_the_sum_over_three_equal_channels() -> None:
    module = Before(nn.Identity())
    network = Network(module, Preprocess(std=(0.5, 0.25, 1.0), colour="lightness"))
    bank = first_layer_filters(network)
    weights = module.conv.weight.detach().numpy() / np.array([0.5, 0.25, 1.0]).reshape(3, 1, 1)
    assert bank.colour == "lightness" and bank.filters.shape == (4, 1, 7, 7)
    assert np.abs(bank.filters[:, 0] - weights.sum(1)).max() < 1e-6
    assert np.allclose(bank.colour_share, 1)
    images = torch.rand(2, 3, 31, 31, generator=torch.Generator().manual_seed(1))
    answers = centre_responses(network, images, "conv")
    lightness = Preprocess(colour="lightness")(images)[:, 0, 13:20, 13:20].numpy()
    expected = np.einsum("uyx,yx->u", bank.filters[:, 0], lightness[0] - lightness[1])
    assert np.abs(answers[0] - answers[1] - expected).max() < 1e-5  # float32
    assert "axis_l" in bank.to_frame() and "lightness" in repr(bank)


def test_networks_by_address_and_by_layer() -> None:
    bank = first_layer_filters("netphys:small_alexnet")
    assert repr(bank) == "FilterBank(netphys:small_alexnet conv1: 64 filters of 9 x 9 pixels, rgb, untrained)"
    assert (bank.stride, bank.padding) == ((2, 2), "(4, 4)")
    assert first_layer_filters("netphys:small_alexnet", layer="conv1").layer == "conv1"
    vit = first_layer_filters("torchvision:vit_b_32")
    assert vit.filters.shape == (768, 3, 32, 32) and vit.layer == "conv_proj"


def test_the_network_is_left_as_it_was() -> None:
    module = Before(nn.BatchNorm2d(3)).train()
    before = {name: each.clone() for name, each in module.state_dict().items()}
    first_layer_filters(module)
    assert module.training and module.before.training
    assert not any(each._forward_pre_hooks for each in module.modules())
    assert all(torch.equal(each, before[name]) for name, each in module.state_dict().items())


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        ("netphys:pixels", None, "netphys:pixels has no Conv2d, so it has no first-layer filters"),
        ("netphys:small_alexnet", "conv2", "layer 'conv2' of .* does not see the image: it is given"),
        ("netphys:small_alexnet", "conv_1", "no layer 'conv_1' in netphys:small_alexnet; near: 'conv1'"),
        ("netphys:small_alexnet", "norm1", "layer 'norm1' of .* is a BatchNorm2d, not a Conv2d"),
        (Before(nn.Unflatten(1, (2, 2))), None, "Before cannot look at an image of 224 x 224 pixels: "),
        (Before(nn.ReLU()), None, "no linear map of a pixel's colours"),
        (Before(nn.AvgPool2d(3, 1, 1)), None, "no linear map of a pixel's colours"),
        (Before(nn.AvgPool2d(2)), None, "does not see the image: it is given"),
        (
            Before(nn.Identity(), nn.Conv2d(5, 4, 7)),
            None,
            "layer 'conv' of Before is given 3 channels of an image and has weights for 5",
        ),
        (Before(nn.Identity(), nn.Conv2d(3, 4, 7, dilation=2)), None, r"dilation=\(2, 2\)"),
        (Before(nn.Identity(), Standardised(3, 4, 7)), None, "layer 'conv' does not apply its weights as they are"),
        (Network(Before(nn.Identity()), lambda images: images), None, "prepares its images itself"),
    ],
)
def test_mistakes_are_one_line(network, layer, message) -> None:
    if isinstance(network, Before) and isinstance(network.before, nn.ReLU):
        network = Network(network, Preprocess(mean=(0.5, 0.5, 0.5)))
    with pytest.raises((OptionError, LayerNotFound), match=message) as caught:
        first_layer_filters(network, layer=layer)
    assert "\n" not in str(caught.value)


def test_small_filters_are_shown_and_not_fitted() -> None:
    bank = first_layer_filters("torchvision:squeezenet1_1")
    assert bank.filters.shape[2:] == (3, 3)
    with pytest.raises(OptionError, match="fits anything of 3 x 3 pixels"):
        bank.fit_gabors()
    frame = bank.to_frame()
    assert frame.r2.isna().all() and frame.norm.gt(0).all()


# --- colour ----------------------------------------------------------------------------------------------------------


def test_the_main_colour_axis_of_planted_filters() -> None:
    rng = np.random.default_rng(1)
    axes = np.array([[1, 1, 1], [1, -1, 0], [-1, -1, 2.5], [1, 0, 0]])
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    bank = bank_of(axes[:, :, None, None] * rng.normal(size=(4, 1, 9, 9)))
    assert np.abs(np.abs((bank.colour_axes * axes).sum(1)) - 1).max() < 1e-6
    assert np.abs(bank.colour_share - 1).max() < 1e-6
    rebuilt = bank.colour_axes[:, :, None, None] * bank.patterns[:, None]
    assert np.abs(rebuilt - bank.filters).max() < 1e-6
    noise = bank_of(rng.normal(size=(50, 3, 9, 9)))  # control: three independent channels have no main colour
    assert noise.colour_share.max() < 0.6


# --- frequency -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("frequency", "sigma"), [(0.1, 4.0), (0.2, 3.0), (0.3, 2.0)])
def test_peak_and_bandwidth_of_a_gabor_are_those_of_its_formula(frequency: float, sigma: float) -> None:
    drawn = gabor(41, np.array([[0, 0, theta, frequency, sigma, 4, 90, 1, 0] for theta in (0, 30, 90, 120)]))
    peak, orientation, octaves = peaks_and_bandwidths(drawn)
    half = np.sqrt(2 * np.log(2)) / (2 * np.pi * sigma)  # cycles a pixel, half width of a Gaussian of sd 1/2πσ
    assert np.abs(peak / frequency - 1).max() < 0.02  # the mirrored lobe shifts it a little
    assert np.abs((orientation - [0, 30, 90, 120] + 90) % 180 - 90).max() < 0.5  # 1/1024 c/px of 0.1
    assert np.abs(octaves - np.log2((frequency + half) / (frequency - half))).max() < 0.06


def test_a_low_pass_filter_has_its_peak_at_zero_and_no_bandwidth() -> None:
    peak, orientation, octaves = peaks_and_bandwidths(np.ones((1, 9, 9)))
    assert peak[0] == 0 and np.isnan(orientation[0]) and np.isnan(octaves[0])


def test_spectra_are_those_of_the_padded_transform() -> None:
    pattern = np.random.default_rng(2).normal(size=(9, 9))
    padded = np.zeros((64, 64))
    padded[:9, :9] = pattern
    assert np.abs(amplitude_spectra(pattern[None])[0] - np.abs(np.fft.fft2(padded))).max() < 1e-12
    assert bank_of(pattern[None, None], "lightness").spectra().shape == (1, 64, 64)


def test_convolution_is_multiplication_where_borders_wrap_and_not_where_they_are_zero() -> None:
    bank = planted_bank()
    image = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(0))
    weights = torch.from_numpy(bank.filters)
    by_fft = circular_responses(image[0].numpy(), bank.filters)
    wrapped = nn.functional.conv2d(nn.functional.pad(image, (4, 4, 4, 4), mode="circular"), weights)[0].numpy()
    zeros = nn.functional.conv2d(image, weights, padding=4)[0].numpy()
    size = np.abs(wrapped).max()
    assert np.abs(by_fft - wrapped).max() < 1e-5 * size
    assert np.abs(by_fft - zeros).max() > 0.1 * size  # control
    assert np.abs(by_fft - zeros)[:, 4:-4, 4:-4].max() < 1e-5 * size  # away from the border they agree


# --- the result ------------------------------------------------------------------------------------------------------


def test_frame_has_one_row_a_unit_and_finds_what_was_planted(tmp_path) -> None:
    bank = planted_bank()
    frame = bank.to_frame()
    assert len(frame) == 16 and frame.is_gabor.all()
    assert np.abs(frame.orientation - np.arange(16) * 180 / 16).max() < 0.1
    assert np.abs(frame.frequency - 0.2).max() < 1e-3
    # 3 degrees: the mirrored lobe draws the peak of so short a filter to one side
    assert np.abs((frame.peak_orientation - frame.orientation + 90) % 180 - 90).max() < 3
    assert "; 100% Gabor-like" in repr(bank)
    path = bank.save(tmp_path)
    assert path.read_text().startswith("network,training,layer,unit,norm,axis_r,axis_g,axis_b,colour_share,x,y,")
    assert np.array_equal(np.load(tmp_path / "filters.npy"), bank.filters)
    assert '"filters"' in (tmp_path / "filters.json").read_text()


def test_one_scale_keeps_the_ratio_of_filters_and_each_its_own_says_so() -> None:
    filters = np.zeros((4, 3, 9, 9))
    filters[0, 0, 0, 0], filters[1, 2, 0, 0], filters[2, :, 0, 0] = 1.0, -0.5, 0.25
    bank = bank_of(filters)

    def drawn(**options):
        ax = bank.plot(Figure().subplots(), **options)
        picture = np.asarray(ax.images[0].get_array())
        corners = [picture[top, left] for top in (0, 58) for left in (0, 58)]  # 9 x 6 pixels a filter, 4 between
        return np.array(corners), " ".join(each.get_text() for each in ax.texts), picture

    shared, text, picture = drawn()
    assert np.allclose(shared, [[1, 0.5, 0.5], [0.5, 0.5, 0.25], [0.625] * 3, [0.5] * 3])
    assert "one scale, ±1" in text
    assert np.allclose(picture[6:54, 6:54], 0.5)  # weight 0 is grey
    each, text, _ = drawn(scale="each")
    assert np.allclose(each, [[1, 0.5, 0.5], [0.5, 0.5, 0], [1] * 3, [0.5] * 3])
    assert "each filter on its own scale" in text
    ordered, _, _ = drawn(order="norm")
    assert np.allclose(ordered[:3], shared[[0, 1, 2]])
    picked, _, _ = drawn(order=[2, 0, 1, 3])
    assert np.allclose(picked, shared[[2, 0, 1, 3]])


def test_ordering_by_the_fit() -> None:
    bank = planted_bank()
    shuffled = bank_of(bank.filters[::-1])
    picture = np.asarray(shuffled.plot(Figure().subplots(), order="orientation").images[0].get_array())
    straight = np.asarray(bank.plot(Figure().subplots()).images[0].get_array())
    # the first of bank has orientation 0, which noise of rounding may call 179.99
    same = np.abs(picture - straight).max() < 1e-6
    turned = np.asarray(bank.plot(Figure().subplots(), order=[*range(1, 16), 0]).images[0].get_array())
    assert same or np.abs(picture - turned).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": "share"}, "scale='share' is none of 'shared', 'each'; near: 'shared'"),
        ({"order": "nrom"}, "order='nrom' is none of unit, norm, frequency, orientation; near: 'norm'"),
        ({"order": [0, 99]}, "order is a list of units from 0 to 15"),
    ],
)
def test_mistakes_in_drawing_are_one_line(options, message) -> None:
    with pytest.raises(OptionError, match=message):
        planted_bank().plot(Figure().subplots(), **options)
