"""Batches are a pure function of the seed and the step; nobody is trained on twice an epoch, or if held out."""

from __future__ import annotations

import numpy as np
import torch
from toy_objective import shown

from netphys.networks import Preprocess
from netphys.objectives.contract import Spec
from netphys.stimuli.views import Crop, Jitter, ViewLaw
from netphys.training.batches import Batches, split
from netphys.training.images import Sizer, images_of

CPU = torch.device("cpu")
LAW = ViewLaw(size=(32, 32), crop=Crop(scale=(0.3, 1)), flip=0.5, jitter=Jitter(0.4, 0.4, 0.4, 0.1))
NEEDS = {"image": Spec("image", (3, 32, 32), group=2, law=LAW), "label": Spec("label", ())}


def make(n=50, batch_size=8, seed=3, **more):
    stimuli = shown(n)
    training, held_out = split(n, 10, seed=seed)
    images = images_of(stimuli, Sizer(None, Preprocess()), CPU, size=(32, 32))
    labels = torch.arange(n)
    options = {"training": training, "held_out": held_out, "batch_size": batch_size, "seed": seed, "device": CPU}
    return Batches(images, labels, more.pop("needs", NEEDS), **{**options, **more})


def test_every_training_stimulus_comes_once_an_epoch_and_none_that_is_held_out() -> None:
    batches = make()
    training, held_out = split(50, 10, seed=3)
    assert batches.steps_per_epoch == 5
    for epoch in range(4):
        seen = np.concatenate([batches.indices(step) for step in range(5 * epoch, 5 * epoch + 5)])
        assert sorted(seen) == sorted(training)
        assert not set(seen) & set(held_out)
    assert len(set(training) | set(held_out)) == 50


def test_the_ragged_rest_is_dropped_another_one_each_epoch() -> None:
    batches = make(n=55)
    assert batches.steps_per_epoch == 5
    seen = [set(np.concatenate([batches.indices(5 * epoch + step) for step in range(5)])) for epoch in range(30)]
    assert all(len(each) == 40 for each in seen)
    assert len(set.union(*seen)) == 45


def test_epochs_differ_in_order_and_seeds_in_both() -> None:
    one, two = make(), make(seed=4)
    assert not np.array_equal(one.indices(0), one.indices(5))
    assert not np.array_equal(one.indices(0), two.indices(0))


def test_a_step_is_the_same_whatever_was_asked_for_before() -> None:
    forwards, backwards = make(), make()
    made = {step: forwards.at(step) for step in range(12)}
    for step in reversed(range(12)):
        again = backwards.at(step)
        assert all(torch.equal(again[name], made[step][name]) for name in again)


def test_views_do_not_depend_on_the_batch_and_differ_from_each_other() -> None:
    small, large = make(batch_size=4), make(batch_size=8)
    views = {}
    for batches in (small, large):
        for step in range(batches.steps_per_epoch):
            batch = batches.at(step)
            for index, pair in zip(batches.indices(step), batch["image"]):
                views.setdefault(int(index), []).append(pair)
    pairs = [each for each in views.values() if len(each) == 2]
    assert len(pairs) == 40
    # 1e-6: a batch of other size is resampled by another product in the last bits
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)
    assert not any(torch.allclose(pair[0], pair[1], atol=1e-2) for pair, _ in pairs)


def test_labels_and_images_belong_to_the_same_stimulus() -> None:
    batches = make(needs={"image": Spec("image", (3, 32, 32)), "label": Spec("label", ())})
    batch = batches.at(7)
    assert torch.equal(batch["label"], torch.from_numpy(batches.indices(7)))
    wanted = shown(50).images(batches.indices(7)).float() / 255
    assert torch.equal(batch["image"], wanted)


def test_ranks_share_the_batch_that_one_process_would_see() -> None:
    whole, parts = make().at(3), [make(rank=rank, n_ranks=2).at(3) for rank in range(2)]
    for name in whole:
        assert torch.allclose(torch.cat([part[name] for part in parts]), whole[name], atol=1e-6)
    assert len(parts[0]["label"]) == 4


def test_held_out_views_are_the_same_each_time_and_are_no_training_views() -> None:
    batches = make()
    first, again = list(batches.held_out()), list(batches.held_out())
    assert [len(each["label"]) for each in first] == [8, 2]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(first, again))
    assert set(torch.cat([each["label"] for each in first]).tolist()) == set(split(50, 10, seed=3)[1].tolist())


def test_batches_for_targets_are_whole_on_every_rank() -> None:
    alone, second = list(make().of_training(3)), list(make(rank=1, n_ranks=2).of_training(3))
    assert len(alone) == 3
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(alone, second))
