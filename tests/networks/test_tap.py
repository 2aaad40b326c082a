"""A tap hands on what layers return, stops after the last, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

from netphys.networks.tap import Tap

X = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Functions between modules, in code that swallows exceptions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.fails = nn.Linear(4, 4), nn.Linear(4, 4), Fails()
        self.reached: list[str] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        try:
            x = F.relu(self.first(x))
            self.reached.append("first")
            x = self.fails(x)
        except Exception:
            x = torch.tanh(x)
        x = self.second(x)
        self.reached.append("second")
        return x


class Fails(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise ValueError("always")


def n_hooks(net: nn.Module) -> int:
    kinds = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    return sum(len(getattr(each, kind)) for each in net.modules() for kind in kinds)


def tapped(net: nn.Module, found: list[str], *, last: str | None = None, functions: Any = lambda key: True) -> Tap:
    paths = [path for path, _ in net.named_modules()]
    return Tap(net, paths, lambda path, key, output: found.append(key), functions=functions, last=last)


def left_as_found(net: nn.Module) -> bool:
    return n_hooks(net) == 0 and _get_current_function_mode_stack() == []


def test_a_module_that_fails_has_not_finished() -> None:
    """What its parent does after it has caught the exception is the parent's own."""
    net, found = Net(), []
    with tapped(net, found):
        net(X)
    assert found == ["first", "first:relu", "first:tanh", "second", "output"] and left_as_found(net)


def test_what_follows_a_module_of_torch_that_failed_is_its_parents() -> None:
    class Recovers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wrong = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            try:
                x = self.wrong(x)
            except RuntimeError:
                x = torch.tanh(x)
            return F.scaled_dot_product_attention(x, x, x) + 1

    net, found = Recovers(), []
    with tapped(net, found, functions=lambda key: "product" in key or "tanh" in key or key.endswith(":attention")):
        net(X)
    # were it still taken to run, tanh would be hidden in it, and the attention named after it
    assert found == ["input:tanh", "output:attention", "input:scaled_dot_product_attention", "output"]


@pytest.mark.parametrize(
    ("last", "keys", "reached"),
    [
        ("first", 1, []),
        ("first:relu", 2, []),
        ("first:tanh", 3, ["first"]),
        ("second", 4, ["first"]),
        (None, 5, ["first", "second"]),
    ],
)
def test_a_run_stops_after_the_last_key_also_through_code_that_swallows_exceptions(
    last: str | None, keys: int, reached: list[str]
) -> None:
    net, found = Net(), []
    with tapped(net, found, last=last) as tap:
        tap.run(X)
        assert found == ["first", "first:relu", "first:tanh", "second", "output"][:keys] and net.reached == reached
        assert _get_current_function_mode_stack() == []
        found.clear()
        net(X)
        assert len(found) == 5  # a forward that is not run by the tap goes on to the end
    assert left_as_found(net)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("key", ["first", "first:relu", "second"])
def test_after_an_error_in_the_receiver_nothing_is_left(error: type[BaseException], key: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), Rectifies())

    def receive(path: str, name: str, output: Any) -> None:
        if name == {"first": "0", "first:relu": "0:relu", "second": "1"}[key]:
            raise error("in the receiver")

    with pytest.raises(error), Tap(net, ["0", "1"], receive, functions=lambda key: True):
        net(X)
    assert left_as_found(net)


class Rectifies(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x) + 1


def test_a_forward_after_an_interrupt_begins_anew() -> None:
    net, found, errors = nn.Sequential(nn.Linear(4, 4), Rectifies()), [], [KeyboardInterrupt()]

    def receive(path: str, key: str, output: Any) -> None:
        found.append(key)
        if key == "0:relu" and errors:
            raise errors.pop()

    with Tap(net, ["0", "1"], receive, functions=lambda key: True):
        with pytest.raises(KeyboardInterrupt):
            net(X)
        found.clear()
        net(X)
        assert found == ["0", "0:relu", "1"]
    assert left_as_found(net)


class Counts(TorchFunctionMode):
    """Another mode, which its owner has on."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_other_modes_stay_on_and_see_what_the_network_does_not_what_the_receiver_does() -> None:
    net, found = nn.Sequential(nn.Linear(4, 4), Rectifies()), []

    def receive(path: str, key: str, output: torch.Tensor) -> None:
        F.gelu(output)
        found.append(key)

    with Counts() as counts, torch.no_grad(), Tap(net, ["0", "1"], receive, functions=lambda key: True):
        net(X)
        assert _get_current_function_mode_stack() == [counts]
    assert found == ["0", "0:relu", "1"] and [n for n in counts.names if n in ("linear", "relu", "gelu")] == [
        "linear",
        "relu",
    ]


def test_taps_nest_and_may_be_left_in_any_order() -> None:
    net, outer, inner = nn.Sequential(nn.Linear(4, 4), Rectifies()), [], []
    import torch._dynamo  # noqa: F401  something was compiled

    before = torch._dynamo.eval_frame._stance
    one, two = tapped(net, outer), tapped(net, inner)
    one.__enter__()
    two.__enter__()
    net(X)
    assert outer == inner == ["0", "0:relu", "1", "output"]
    one.__exit__()
    net(X)
    assert len(outer) == 4 and len(inner) == 8 and torch._dynamo.eval_frame._stance != before
    two.__exit__()
    assert torch._dynamo.eval_frame._stance == before
    assert left_as_found(net)


def test_what_one_tap_computes_of_attention_another_does_not_hear() -> None:
    net = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()
    alone: list[str] = []
    outer: list[str] = []
    inner: list[str] = []
    x = X[None]
    with torch.no_grad():
        with tapped(net, alone):
            net(x)
        with tapped(net, outer), tapped(net, inner):
            net(x)
    assert "self_attn:attention" in alone and sorted(outer) == sorted(inner) == sorted(alone)


def test_a_block_that_is_computed_again_for_its_gradient_is_handed_on_once() -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = nn.Sequential(nn.Linear(4, 4), Rectifies())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return checkpoint(self.block, x, use_reentrant=False)

    net, found, computed = Checkpointed(), [], []
    net.block[0].register_forward_hook(lambda *_: computed.append(1))
    with tapped(net, found):
        net(X).sum().backward()
    assert found == ["block.0", "block.0:relu", "block.1", "block", "output"] and len(computed) == 2


def test_a_shared_module_is_named_by_its_first_path_and_numbered() -> None:
    net, found = nn.Sequential(nn.Linear(4, 4), Rectifies()), []
    net.again = net[0]
    with tapped(net, found):
        net(X)
    assert found == ["0", "0:relu", "1", "0#2", "output"]


def test_one_network_in_dataparallel(recwarn: Any) -> None:
    net, found = nn.DataParallel(nn.Sequential(nn.Linear(4, 4), Rectifies())), []
    with tapped(net, found):
        net(X)
    assert found == ["module.0", "module.0:relu", "module.1", "module", "output"] and left_as_found(net)


def test_a_compiled_network_runs_as_it_was_written_and_is_compiled_afterwards() -> None:
    net = nn.Sequential(nn.Linear(4, 4), Rectifies())
    compiled, found, traced = torch.compile(net, backend=lambda graph, _: traced.append(1) or graph.forward), [], []
    with torch.no_grad():
        with tapped(compiled, found):
            tapped_result = compiled(X)
        assert not traced and torch.equal(tapped_result, net(X))
        compiled(X)
        assert traced  # the owner's way of running it is back
    assert found == [f"_orig_mod{key}" for key in (".0", ".0:relu", ".1", "")] + ["output"]
    assert left_as_found(compiled)


def test_a_scripted_module_is_a_layer_and_hides_what_is_in_it() -> None:
    net, found = nn.Sequential(nn.Linear(4, 4), torch.jit.script(Net2())), []
    with tapped(net, found):
        net(X)
    assert found == ["0", "1", "output"] and left_as_found(net)


class Net2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.inner(x))


def test_without_functions_no_mode_is_on_and_no_other_module_has_a_hook() -> None:
    net, stacks = nn.Sequential(nn.Linear(4, 4), Rectifies()), []
    with Tap(net, ["1"], lambda *_: stacks.append(_get_current_function_mode_stack())):
        assert not net[0]._forward_hooks and not net[0]._forward_pre_hooks and len(net[1]._forward_hooks) == 1
        net(X)
    assert stacks == [[]]
