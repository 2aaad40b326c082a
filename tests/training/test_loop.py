"""A step asks nothing of the device, leaves nothing behind, and a loss that is no number ends the training."""

from __future__ import annotations

import gc
import math

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from toy_objective import NETWORK, Toy, shown

from netphys.errors import TrainingError
from netphys.objectives import OBJECTIVES
from netphys.training import train
from netphys.training.checkpoints import capture
from netphys.training.engine import Engine
from netphys.training.images import images_of
from netphys.training.preparing import Asked, prepare
from netphys.training.trainer import Batches, _begin


def begun(objective=Toy, **asked):
    """A loop that has begun."""
    asked = Asked(**{"n_steps": 40, "batch_size": 16, "held_out": 16, "precision": "float32", **asked})
    setup = prepare(objective, NETWORK, shown(), asked)
    engine = Engine("cpu", asked.precision)
    labels = None if setup.labels is None else torch.from_numpy(setup.labels)
    batches = Batches(
        images_of(setup.stimuli, setup.sizer, engine.device, size=setup.size), labels, setup.objective.needs,
        training=setup.training, held_out=setup.held_out, batch_size=16, seed=0, device=engine.device,
    )  # fmt: skip
    loop = _begin(setup, engine, batches, None)
    loop.objective.train()
    return loop


def waits(loop) -> int:
    """How often a step reads a number from the device; counters of AdamW, which live on the host, do not count."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        loop.step()
    n = 0
    for event in found.events():
        above = event.cpu_parent
        while above is not None and "adamw" not in above.name.lower():
            above = above.cpu_parent
        n += event.name == "aten::_local_scalar_dense" and above is None
    return n


@pytest.mark.parametrize("objective", [Toy, *OBJECTIVES])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_does_not_wait_for_the_device(objective, precision) -> None:
    loop = begun(objective, precision=precision, options={"target_side": 4} if objective == "colorization" else {})
    loop.step()  # the first one makes the optimizer's state
    assert waits(loop) == 0


def test_a_log_that_is_a_number_is_seen() -> None:
    """Control: an objective that reads its loss in every step."""
    loop = begun()
    loop.step()
    after = loop.objective.after
    loop.objective.after = lambda turn, step, at, ranks: (step.loss.item(), after(turn, step, at, ranks))
    assert waits(loop) == 2  # its two turns


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_step_on_cuda_does_not_wait() -> None:
    for objective in (Toy, *OBJECTIVES):
        setup = prepare(objective, NETWORK, shown(), Asked(n_steps=40, batch_size=16, held_out=16))
        engine = Engine("cuda", "auto")
        labels = None if setup.labels is None else torch.from_numpy(setup.labels).to(engine.device)
        images = images_of(setup.stimuli, setup.sizer, engine.device, size=setup.size)
        batches = Batches(
            images, labels, setup.objective.needs, training=setup.training, held_out=setup.held_out,
            batch_size=16, seed=0, device=engine.device,
        )  # fmt: skip
        loop = _begin(setup, engine, batches, None)
        loop.objective.train()
        for _ in range(2):
            loop.step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(5):
                loop.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


def n_tensors() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())


def test_memory_does_not_grow_with_the_steps() -> None:
    loop = begun(n_steps=1000, evaluate_every=10)
    counts = []
    for done in range(1, 61):
        loop.step()
        if done % 20 == 0:
            loop.fetch()
            counts.append(n_tensors())
    assert counts[0] == counts[1] == counts[2]


def test_a_loop_that_keeps_its_losses_is_seen() -> None:
    """Control: steps kept with their graphs."""
    loop, kept = begun(n_steps=1000), []
    loop.objective.after = lambda turn, step, at, ranks: kept.append(step)
    counts = []
    for _ in range(3):
        for _ in range(20):
            loop.step()
        loop.fetch()
        counts.append(n_tensors())
    assert counts[0] < counts[1] < counts[2]


def test_the_curve_says_loss_and_held_out_loss_of_the_same_parameters() -> None:
    result = train(Toy, NETWORK, shown(), n_steps=12, batch_size=16, held_out=16, evaluate_every=5)
    curve = result.curve
    assert curve["step"].tolist() == list(range(13))
    assert curve.dropna(subset=["held_out"])["step"].tolist() == [0, 5, 10, 12]
    assert math.isnan(curve["loss"].iloc[-1]) and curve["loss"].iloc[:-1].notna().all()
    assert curve["held_out"].iloc[0] == result.references["untrained"]
    assert curve["epoch"].iloc[[3, 4, 8, 12]].tolist() == [0, 1, 2, 3]
    assert {"loss_critic", "size", "bits_offered", "spread_f", "rank_f"} <= set(curve)
    assert (np.diff(curve["seconds"]) >= 0).all()


def test_it_learns_and_with_a_rate_of_nothing_does_not() -> None:
    learned = train(Toy, NETWORK, shown(), n_steps=60, batch_size=16, held_out=16, rate=0.01)
    not_learned = train(Toy, NETWORK, shown(), n_steps=60, batch_size=16, held_out=16, rate=1e-12)  # control
    assert learned.held_out < 0.8 * learned.references["untrained"]
    # running statistics of batch norm follow the images also where nothing is learned
    assert not_learned.held_out > 0.95 * learned.references["chance"]


def test_a_loss_that_is_no_number_names_the_step_and_what_to_try() -> None:
    loop = begun(rate=1e12)
    with pytest.raises(
        TrainingError, match=r"loss of toy became (nan|inf) at step \d+; try a smaller rate \(rate=3e\+11"
    ):
        for _ in loop.run():
            pass


def test_evaluations_change_nothing() -> None:
    often, seldom = (
        train(Toy, NETWORK, shown(), n_steps=12, batch_size=16, held_out=16, evaluate_every=every) for every in (1, 12)
    )
    ours, theirs = often.network.module.state_dict(), seldom.network.module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_callbacks_see_the_objective_in_eval_mode_and_join_the_curve() -> None:
    seen = []

    def probe(step, objective):
        seen.append((step, objective.training))
        return {"probe": step / 2}

    result = train(Toy, NETWORK, shown(), n_steps=8, batch_size=16, held_out=16, evaluate_every=4, callbacks=[probe])
    assert seen == [(0, False), (4, False), (8, False)]
    assert result.curve["probe"].dropna().tolist() == [0, 2, 4]
    assert list(result.plan["callbacks"]) == ["probe"]


def test_what_is_captured_is_all_of_it() -> None:
    loop = begun()
    for _ in range(3):
        loop.step()
    kinds = {name.partition("/")[0] for name in capture(loop).tensors}
    assert kinds == {"objective", "optimizer", "curve"}
