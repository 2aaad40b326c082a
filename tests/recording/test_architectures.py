"""Published networks, all of torchvision's classifiers and some of timm: recorded whole, and equal to references.

The reference is another machinery than hooks: the network, its in-place operations turned off, is traced by torch.fx
and run node by node, every value copied. Modules that fx does not trace are compared with cloning hooks on that copy.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import fx, nn
from torch.nn import functional as F

import netphys
from netphys.networks import Network
from netphys.networks.functions import function_name
from netphys.networks.outputs import LayerName, layer_name, tensors_in
from netphys.networks.running import evaluating
from netphys.recording.keep import units_first
from netphys.recording.layers import probe_layers

ATTENTION = ("attention", "query", "key", "value")


def noise(n: int, side: int) -> netphys.StimulusSet:
    pixels = np.random.default_rng(2).integers(0, 256, (n, 3, side, side), dtype=np.uint8)
    return netphys.StimulusSet.from_arrays(pixels)


# Every classifier of torchvision

CLASSIFIERS = torchvision.models.list_models(torchvision.models)
CONSTANT = ("cpb_mlp.0", "cpb_mlp.1", "cpb_mlp.2")
FAST = ("alexnet", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5", "resnet18", "mobilenet_v3_small", "swin_t")


def side_of(name: str) -> int:
    """Return a small side that a network can look at."""
    return {"inception_v3": 96, "maxvit_t": 224, "vit_h_14": 56}.get(name, 64)


def cheap(name: str) -> nn.Module:
    """Build a network of torchvision with small weights that take no time to draw."""
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit"):
        options["image_size"] = side_of(name)
    with undrawn():
        net = torchvision.models.get_model(name, weights=None, **options)
    with torch.no_grad():
        for each in net.parameters():
            each.copy_(torch.linspace(-0.05, 0.05, each.shape[-1] if each.ndim else 1))
    return net.eval()


@contextmanager
def undrawn() -> Iterator[None]:
    """Leave parameters as memory has them: drawing them takes longer than all else."""
    names = [name for name in dir(nn.init) if name.endswith("_") and not name.startswith("_")]
    before = {name: getattr(nn.init, name) for name in names}
    for name in names:
        setattr(nn.init, name, lambda tensor, *_, **__: tensor)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        for name, function in before.items():
            setattr(nn.init, name, function)


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in FAST else pytest.mark.slow) for each in CLASSIFIERS]
)
def test_every_classifier_of_torchvision_records_all_in_one_pass(name: str) -> None:
    net, stimuli = cheap(name), noise(2, side_of(name))
    table = probe_layers(Network(net), stimuli.images([0, 0, 0]))
    recording = netphys.record(net, stimuli, layers="all", batch_size=2)
    named = [each for each in table if LayerName.parse(each.name).function.partition("#")[0] not in ATTENTION]
    # biases of position that Swin V2 computes from its weights are no activations
    constant = [each.name for each in named if each.problem and each.path.endswith(("cpb_mlp", *CONSTANT))]
    assert not [(each.name, each.problem) for each in named if each.problem and each.name not in constant]
    assert bool(constant) == name.startswith("swin_v2")
    assert list(recording.layers) == [each.name for each in named if each.name not in constant]
    assert modules_called(net, stimuli.images([0]) / 255) <= {each.path for each in named}


def modules_called(net: nn.Module, images: torch.Tensor) -> set[str]:
    """List the modules that a forward calls."""
    called: set[str] = set()
    modules = [(path, each) for path, each in net.named_modules() if path]
    handles = [each.register_forward_hook(lambda *_, path=path: called.add(path)) for path, each in modules]
    with evaluating(net), torch.no_grad():
        net(images)
    for handle in handles:
        handle.remove()
    return called


# References


class Tracer(fx.Tracer):
    """Traces a network with every module that has no children as one node, and notes what each node is called.

    A module is known when it returns, a function is named after the module that last returned.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[fx.Node, list[str]] = {}
        self.last = "input"
        self.calls: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children()) or isinstance(m, nn.MultiheadAttention)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        path = self.path_of_module(m)
        output = super().call_module(m, forward, args, kwargs)
        self.calls[path] += 1
        self.last = layer_name(path, self.calls[path])
        if isinstance(output, fx.Proxy):
            self.names.setdefault(output.node, []).append(self.last)
        return output

    def create_node(self, kind: str, target: Any, *given: Any, **more: Any) -> fx.Node:
        node = super().create_node(kind, target, *given, **more)
        called = getattr(torch.Tensor, target) if kind == "call_method" else target
        name = function_name(called) if kind in ("call_function", "call_method") else ""
        if name:
            key = f"{self.last}:{name}"
            self.functions[key] += 1
            numbered = f"{key}#{self.functions[key]}" if self.functions[key] > 1 else key
            self.names.setdefault(node, []).append(numbered)
        return node


class Nodes(fx.Interpreter):
    """Runs a traced network, and keeps every value by its names."""

    def __init__(self, net: nn.Module, graph: fx.Graph, names: dict[fx.Node, list[str]], *, copied: bool) -> None:
        super().__init__(fx.GraphModule(net, graph))
        self.names = {node.name: each for node, each in names.items()}
        self.copied, self.kept = copied, dict[str, torch.Tensor]()

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        for name in self.names.get(n.name, ()):
            for suffix, tensor in tensors_in(result):
                self.kept[name + suffix] = tensor.clone() if self.copied else tensor
        return result


def by_nodes(net: nn.Module, images: torch.Tensor, *, copied: bool = True) -> dict[str, torch.Tensor]:
    """Run a network node by node; empty where fx cannot trace it."""
    tracer = Tracer()
    try:
        graph = tracer.trace(net)
    except (TypeError, ValueError, RuntimeError, AttributeError, fx.proxy.TraceError):
        return {}
    if copied:
        for node in graph.nodes:
            node.kwargs = {key: False if key == "inplace" else value for key, value in node.kwargs.items()}
    run = Nodes(net, graph, tracer.names, copied=copied)
    with evaluating(net), torch.no_grad():
        run.run(images)
    return run.kept


def by_hooks(net: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Run a network with plain hooks that copy."""
    found, calls = dict[str, torch.Tensor](), Counter[str]()

    def hook(path: str) -> Any:
        def take(module: nn.Module, inputs: Any, output: Any) -> None:
            calls[path] += 1
            found.update((layer_name(path, calls[path], suffix), each.clone()) for suffix, each in tensors_in(output))

        return take

    handles = [each.register_forward_hook(hook(path)) for path, each in net.named_modules() if path]
    with evaluating(net), torch.no_grad():
        net(images)
    for handle in handles:
        handle.remove()
    return found


def without_inplace(net: nn.Module) -> nn.Module:
    net = copy.deepcopy(net)
    for each in net.modules():
        if hasattr(each, "inplace"):
            each.inplace = False
    return net


def drawn(name: str, side: int) -> nn.Module:
    """Build a network with the library's own initial values."""
    options: dict[str, Any] = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    if name.startswith("vit"):
        options["image_size"] = side
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.manual_seed(0)
        if name.startswith("timm:"):
            import timm

            return timm.create_model(name.removeprefix("timm:"), pretrained=False).eval()
        return torchvision.models.get_model(name, weights=None, **options).eval()


def compare(name: str, side: int) -> tuple[list[str], Counter[str]]:
    """Record all of a network, compare it with the references; returns what differs, and how many were compared."""
    net, stimuli = drawn(name, side), noise(2, side)
    images = stimuli.images([0, 1]) / 255
    recording = netphys.record(net, stimuli, layers="all", batch_size=2)
    table = {each.name: each for each in probe_layers(Network(net), stimuli.images([0, 0, 0]))}
    plain = without_inplace(net)
    references = {"hooks": by_hooks(plain, images), "nodes": by_nodes(plain, images)}
    different, counts = [], Counter[str]()
    for layer in recording.layers:
        for kind, reference in references.items():
            if layer in reference:
                counts[f"functions by {kind}" if LayerName.parse(layer).function else f"modules by {kind}"] += 1
                expected = units_first(reference[layer], table[layer])
                if not torch.equal(torch.tensor(recording.array(layer)), expected):
                    different.append(f"{layer} by {kind}")
    counts["modules"] = sum(not LayerName.parse(each).function for each in recording.layers)
    counts["functions"] = len(recording.layers) - counts["modules"]
    missing = set(references["hooks"]) - set(recording.layers) - {each for each in table if table[each].problem}
    return different + sorted(f"{each} is missing" for each in missing), counts


COMPARED = {  # and the side of the image
    "alexnet": 64, "convnext_tiny": 64, "convnext_small": 64, "densenet121": 64, "densenet169": 64,
    "efficientnet_b0": 64, "efficientnet_b1": 64, "efficientnet_v2_s": 64, "googlenet": 64, "inception_v3": 96,
    "maxvit_t": 224, "mnasnet0_5": 64, "mnasnet0_75": 64, "mnasnet1_0": 64, "mobilenet_v2": 64,
    "mobilenet_v3_large": 64, "mobilenet_v3_small": 64, "regnet_x_400mf": 64, "regnet_x_800mf": 64,
    "regnet_y_400mf": 64, "regnet_y_800mf": 64, "resnet18": 64, "resnet34": 64, "resnet50": 64, "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64, "shufflenet_v2_x1_0": 64, "squeezenet1_0": 64, "squeezenet1_1": 64, "swin_t": 64,
    "swin_v2_t": 64, "vgg11": 64, "vgg11_bn": 64, "vgg13": 64, "vgg16": 64, "vit_b_16": 64, "vit_b_32": 64,
    "wide_resnet50_2": 64,
    "timm:cait_xxs24_224": 224, "timm:convnext_atto": 64, "timm:crossvit_tiny_240": 240, "timm:cspdarknet53": 64,
    "timm:darknet53": 64, "timm:deit_tiny_distilled_patch16_224": 224, "timm:dla34": 64, "timm:dpn48b": 64,
    "timm:edgenext_xx_small": 64, "timm:efficientformer_l1": 224, "timm:eva02_tiny_patch14_224": 224,
    "timm:ghostnet_100": 64, "timm:hrnet_w18_small": 64, "timm:legacy_xception": 64, "timm:levit_128s": 224,
    "timm:mixer_s32_224": 224, "timm:mobilenetv3_small_100": 64, "timm:mobilevit_xxs": 64, "timm:nf_resnet26": 64,
    "timm:poolformer_s12": 64, "timm:pvt_v2_b0": 64, "timm:repvgg_a0": 64, "timm:res2net50_26w_4s": 64,
    "timm:resnet26d": 64, "timm:swin_tiny_patch4_window7_224": 224, "timm:tf_efficientnet_b0": 64,
    "timm:twins_pcpvt_small": 64, "timm:vit_tiny_patch16_224": 224, "timm:vovnet39a": 64,
    "timm:xcit_nano_12_p16_224": 224,
}  # fmt: skip
SOON = ("alexnet", "googlenet", "resnet18", "timm:mobilenetv3_small_100", "timm:resnet26d")  # compared in CI
WITH_FUNCTIONS = {  # how many functions are layers, by a count of nodes
    "densenet121": 2, "googlenet": 57, "inception_v3": 105, "mobilenet_v2": 1, "timm:mobilenetv3_small_100": 34,
    "timm:repvgg_a0": 61, "timm:tf_efficientnet_b0": 49, "timm:vit_tiny_patch16_224": 12, "timm:dpn48b": 54,
}  # fmt: skip
UNTRACED = ("swin_t", "swin_v2_t", "timm:crossvit_tiny_240", "timm:mobilevit_xxs")  # fx sees no function inside


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=() if each in SOON else pytest.mark.slow) for each in COMPARED]
)
def test_every_layer_equals_its_references(name: str) -> None:
    different, counts = compare(name, COMPARED[name])
    assert not different
    assert counts["modules by hooks"] == counts["modules"] > 20
    if name not in UNTRACED:
        assert counts["functions by nodes"] == counts["functions"]
        assert counts["modules by nodes"] > 0.95 * counts["modules"]  # fx passes by what it finds constant
    if name in WITH_FUNCTIONS:
        assert counts["functions"] == WITH_FUNCTIONS[name]


def test_control_without_the_copy_alexnet_is_seen_to_be_wrong() -> None:
    """The comparison can fail: values that fx hands out uncopied are rectified by the next module."""
    net, stimuli = drawn("alexnet", 64), noise(2, 64)
    images = stimuli.images([0, 1]) / 255
    recording = netphys.record(net, stimuli, layers="kind:Conv2d", batch_size=2)
    right, wrong = by_nodes(without_inplace(net), images), by_nodes(net, images, copied=False)
    recorded = {layer: torch.tensor(recording.array(layer)) for layer in recording.layers}
    assert len(recorded) == 5 and all(torch.equal(recorded[each], right[each]) for each in recorded)
    assert not any(torch.equal(wrong[each], right[each]) for each in recorded)
    assert all(torch.equal(wrong[each], right[each].clamp(min=0)) for each in recorded)


class Everything(nn.Module):
    """In place, reused, functional and a dict, in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.relu, self.heads = nn.ReLU(inplace=True), Heads()

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        x = self.relu(self.conv1(x))
        y = F.relu(self.conv2(x))
        y += x
        z = self.relu(F.max_pool2d(y, 2) - 0.5)
        return self.heads(z.clamp_min_(0.1))

    def by_hand(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        conv1 = F.conv2d(x, self.conv1.weight, self.conv1.bias, padding=1)
        relu = conv1.clamp(min=0)
        conv2 = F.conv2d(relu, self.conv2.weight, self.conv2.bias, padding=1)
        pooled = F.max_pool2d(conv2.clamp(min=0) + relu, 2)
        again = (pooled - 0.5).clamp(min=0)
        floor = again.clamp(min=0.1)
        weight, bias = self.heads.fc.weight, self.heads.fc.bias
        fc = F.linear(floor.mean((2, 3)), weight, bias)
        return {
            "conv1": conv1, "relu": relu, "conv2": conv2, "conv2:relu": conv2.clamp(min=0),
            "conv2:max_pool2d": pooled, "relu#2": again, "relu#2:clamp_min": floor, "heads.fc": fc,
            "heads.fc:softmax": fc.softmax(1), "heads/logits": fc, "heads/more/chance": fc.softmax(1),
        }  # fmt: skip


class Heads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        logits = self.fc(x.mean((2, 3)))
        return {"logits": logits, "more": {"chance": logits.softmax(1)}, "nothing": None}


def test_in_place_reused_functional_and_a_dict_equal_the_forward_by_hand() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, stimuli = Everything(), noise(8, 16)
    images = stimuli.images(range(8)) / 255
    recording = netphys.record(net, stimuli, layers="all", batch_size=8)
    with torch.no_grad():
        expected = net.by_hand(images)
    assert list(recording.layers) == list(expected)
    assert all(torch.equal(torch.tensor(recording.array(layer)), expected[layer]) for layer in expected)
    # control: a plain hook that keeps the last call gives another answer, and sees no function
    kept: dict[str, Any] = {}
    for path, each in net.named_modules():
        each.register_forward_hook(lambda *given, path=path: kept.__setitem__(path, given[2]))
    with torch.no_grad():
        net(images)
    assert kept["relu"].shape != expected["relu"].shape and not torch.equal(kept["relu"], expected["relu#2"])
    assert torch.equal(kept["relu"], expected["relu#2:clamp_min"])  # overwritten by what came next
    assert not torch.equal(kept["conv1"], expected["conv1"]) and not any(":" in path for path in kept)
