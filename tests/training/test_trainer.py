"""train: what it refuses and how, what it leaves as it was, and that a trained network sees what it was trained on."""

from __future__ import annotations

import inspect
import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from toy_objective import NETWORK, Toy, shown

import netphys
from netphys.errors import AddressError, OptionError, StimulusError, TrainingError
from netphys.networks import Network, Preprocess
from netphys.objectives import OBJECTIVES
from netphys.objectives.contract import Clock
from netphys.ranks import Alone
from netphys.stimuli import StimulusSet
from netphys.training import load_training, train, training_plan
from netphys.training.preparing import Asked, prepare

SMALL = {"n_steps": 3, "batch_size": 16, "held_out": 16, "precision": "float32"}
TARGETS = {"colorization": {"target_side": 4}}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "out"
    return folder, train("supervised", NETWORK, shown(), into=folder, **SMALL)


# What it leaves as it was


def test_the_network_and_the_generators_are_left_as_they_were() -> None:
    network = netphys.load_network(NETWORK)
    digest, state = network.digest, torch.get_rng_state()
    result = train(Toy, network, shown(), **SMALL)
    assert network.digest == digest and network.training == "untrained"
    assert torch.equal(torch.get_rng_state(), state)
    assert result.network.digest != digest and result.network.training == "toy"
    assert not any(each.training for each in result.network.module.modules())
    assert not any(each.training for each in result.objective.modules())


def test_the_same_call_gives_the_same_bits_and_another_seed_others() -> None:
    one, same = (train("simclr", NETWORK, shown(), **SMALL) for _ in range(2))
    assert one.network.digest == same.network.digest
    assert one.curve.drop(columns="seconds").equals(same.curve.drop(columns="seconds"))
    assert train("simclr", NETWORK, shown(), **SMALL, seed=1).network.digest != one.network.digest


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("query", ["", "&normalise=imagenet", "&colour=lightness", "&colour=lightness&resize=24"])
def test_a_trained_network_sees_what_it_was_trained_on(objective: str, query: str) -> None:
    """Preprocessing unlike training's is wrong without a crash: what reaches the trunk is compared."""
    asked = Asked(**SMALL, options=TARGETS.get(objective, {}))
    setup = prepare(objective, NETWORK + query, shown(), asked)
    seen = []
    setup.objective.trunk.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    images = setup.sizer(shown().images(range(8))).float() / 255
    batch = {"image": images, "label": torch.zeros(8, dtype=torch.int64)}
    if setup.objective.needs["image"].group == 2:
        batch["image"] = torch.stack([images, images], 1)
    setup.objective.fit_targets([{"image": images, "label": torch.arange(8) % 4}])
    setup.objective.eval()(batch, "main", Clock(0, 1, 0), Alone())
    wanted = setup.network.prepare(images)
    assert torch.allclose(seen[-1][:8], wanted, atol=1e-5)  # float32 of Lab's cube root
    if objective == "colorization" and not query:  # control: it does not see the colours
        assert not torch.allclose(wanted, images, atol=1e-2)


def test_the_head_of_a_classifier_is_taken_off() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.ReLU(), nn.Flatten())
            self.fc = nn.Linear(64, 10)

        def forward(self, images):
            return self.fc(self.body(images))

    given = Classifier()
    result = train("supervised", given, shown(), **SMALL)
    assert isinstance(given.fc, nn.Linear)
    assert isinstance(result.network.module.fc, nn.Identity)
    assert result.network.module(torch.zeros(1, 3, 32, 32)).shape == (1, 64)


# The plan


def test_the_plan_changes_with_everything_that_changes_the_result() -> None:
    base = training_plan("simclr", NETWORK, shown(), **SMALL)
    assert base == training_plan("simclr", NETWORK, shown(), **SMALL, save_every=5, into="x", force=True)
    assert json.loads(json.dumps(base)) == base
    for change in (
        {"n_steps": 4}, {"batch_size": 8}, {"rate": 0.1}, {"weight_decay": 0.0}, {"warm_up": 0.5}, {"held_out": 20},
        {"evaluate_every": 2}, {"size": 16}, {"precision": "bfloat16"}, {"seed": 1}, {"options": {"temperature": 0.1}},
        {"callbacks": [lambda step, objective: {}]},
    ):  # fmt: skip
        assert training_plan("simclr", NETWORK, shown(), **{**SMALL, **change}) != base, change
    assert training_plan("simclr", NETWORK, shown(seed=1), **SMALL) != base
    assert training_plan("simclr", "netphys:small_alexnet?width=3", shown(), **SMALL) != base
    assert training_plan("supervised", NETWORK, shown(), **SMALL)["labels"] == "category"


def counted(step, objective, *, by=1):
    """A callback."""
    return {"counted": step * by}


class Counter:
    """A callback with a state."""

    def __init__(self, by):
        self.by = by

    def __call__(self, step, objective):
        return {"counted": step * self.by}

    def other(self, step, objective):
        return {"counted": -step * self.by}


def test_the_plan_tells_callbacks_apart_by_what_they_compute_with() -> None:
    made = [
        counted, partial(counted, by=2), partial(counted, by=3), partial(Counter(2)), Counter(1), Counter(2),
        Counter(2).other, Counter(3).other,
    ]  # fmt: skip
    said = [next(iter(training_plan(Toy, NETWORK, shown(), **SMALL, callbacks=[each])["callbacks"].values()))
            for each in made]  # fmt: skip
    assert len(set(said)) == len(made)
    again = training_plan(Toy, NETWORK, shown(), **SMALL, callbacks=[partial(counted, by=2)])
    assert again["callbacks"] == {"partial": said[1]}


def test_the_plan_has_the_source_of_what_an_objective_inherits(monkeypatch) -> None:
    class Heir(Toy):
        pass

    before = training_plan(Heir, NETWORK, shown(), **SMALL)["objective_source"]
    assert before != training_plan(Toy, NETWORK, shown(), **SMALL)["objective_source"]
    source = inspect.getsource
    monkeypatch.setattr(inspect, "getsource", lambda each: source(each) + "# changed" * (each is Toy))
    assert training_plan(Heir, NETWORK, shown(), **SMALL)["objective_source"] != before


def test_the_plan_has_the_names_of_classes() -> None:
    stimuli = shown()
    table = stimuli.metadata
    table["category"] = table["category"].str.replace("kind", "sort")
    renamed = StimulusSet.from_arrays(stimuli.images(range(80)), metadata=table)
    one, other = (training_plan("supervised", NETWORK, each, **SMALL)["label_values"] for each in (stimuli, renamed))
    assert one != other


@pytest.mark.parametrize("key", ["held_out", "loss", "seconds", "size", "loss_critic"])
def test_a_callback_may_not_say_what_the_curve_has(key: str) -> None:
    def mine(step, objective):
        return {key: 1.0}

    with pytest.raises(OptionError, match=rf"callback mine says '{key}', which the curve has already"):
        train(Toy, NETWORK, shown(), **SMALL, callbacks=[mine])


def test_alignment_is_that_of_the_two_views() -> None:
    curve = train("simclr", NETWORK, shown(), **{**SMALL, "held_out": 32}).curve
    assert curve["alignment_f"].dropna().between(0, 4).all() and "alignment_z" in curve
    same = {"crop_scale": [1.0, 1.0], "flip": False, "jitter": 0.0, "grey": 0.0}
    equal = train("simclr", NETWORK, shown(), **{**SMALL, "held_out": 32}, options=same).curve
    assert equal["alignment_f"].max() < 1e-9 < curve["alignment_f"].min()  # of two batches: rows count on


def test_held_out_stimuli_are_a_batch_where_the_loss_depends_on_it() -> None:
    options = {"n_steps": 3, "batch_size": 16, "held_out": 0.1}
    assert training_plan("simclr", NETWORK, shown(), **options)["n_held_out"] == 16
    assert training_plan("supervised", NETWORK, shown(), **options)["n_held_out"] == 8


# What it refuses


@pytest.mark.parametrize(
    ("objective", "more", "kind", "text"),
    [
        ("simcler", {}, OptionError, r"no objective 'simcler'; near: 'simclr'"),
        ("supervised", {"labels": "catgory"}, TrainingError, r"has no column 'catgory'; near: 'category'; name it"),
        ("supervised", {"labels": "stimulus_id"}, TrainingError, r"has 80 value\(s\) for 80 stimuli"),
        ("simclr", {"options": {"temprature": 1}}, OptionError, r"no option 'temprature'; near: 'temperature'"),
        (
            "simclr",
            {"batch_size": 70},
            TrainingError,
            r"a batch of 70 does not fit .*\(80 less 70 held out",
        ),
        ("simclr", {"n_steps": 0}, OptionError, r"n_steps=0: a whole number from 1"),
        ("simclr", {"rate": -1.0}, OptionError, r"rate=-1.0: above 0"),
        ("simclr", {"held_out": 0}, OptionError, r"held_out=0: a share"),
        ("simclr", {"held_out": 1.0}, OptionError, r"held_out=1.0: a share .* or how many, as a whole number"),
        ("simclr", {"held_out": True}, OptionError, r"held_out=True: a share"),
        ("simclr", {"held_out": "all"}, OptionError, r"held_out='all': a share"),
        ("simclr", {"batch_size": True}, OptionError, r"batch_size=True: a whole number from 1"),
        ("simclr", {"rate": "high"}, OptionError, r"rate='high': above 0"),
        ("simclr", {"weight_decay": float("nan")}, OptionError, r"weight_decay=nan: 0 or more"),
        ("simclr", {"seed": 1.5}, OptionError, r"seed=1.5: a whole number"),
        ("simclr", {"labels": 3}, OptionError, r"labels=3: a word"),
        ("simclr", {"options": ["shuffle"]}, OptionError, r"options=\['shuffle'\]: a mapping"),
        ("simclr", {"callbacks": [3]}, OptionError, r"callback 3 cannot be called"),
        ("simclr", {"callbacks": [print]}, OptionError, r"callback print has no source .* method plan\(\)"),
        ("simclr", {"callbacks": [[].append]}, OptionError, r"callback append has no source"),
        (
            "supervised",
            {"options": {"shuffle": True}, "batch_size": 1},
            OptionError,
            r"shuffle=True .* batch_size is 2 or more",
        ),
        ("simclr", {"warm_up": 1.0}, OptionError, r"warm_up=1.0 is no share"),
        ("simclr", {"save_every": "5 min"}, OptionError, r"save_every='5 min' is neither"),
        ("simclr", {"precision": "half"}, OptionError, r"precision='half' is not known"),
        (Toy, {"options": {"drop": 1}}, OptionError, r"toy takes no option 'drop'; near: 'dropout'"),
        (3, {}, OptionError, r"an objective is a name .* or a class of its kind, not 3"),
    ],
)
def test_a_mistake_is_named_before_anything_is_trained(objective, more, kind, text) -> None:
    with pytest.raises(kind, match=text):
        train(objective, NETWORK, shown(), **{**SMALL, **more})


def test_networks_that_cannot_learn_are_refused(tmp_path) -> None:
    with pytest.raises(TrainingError, match="gabor_energy has no parameters to be trained by simclr"):
        train("simclr", "netphys:gabor_energy", shown(), **SMALL)
    with pytest.raises(OptionError, match="has no address, so that no file can say its architecture"):
        train("simclr", netphys.load_network(NETWORK).module, shown(), into=tmp_path / "out", **SMALL)
    network = netphys.load_network(NETWORK)
    with pytest.raises(TrainingError, match=r"prepares its images by .*; to train it, say it as Preprocess"):
        train("simclr", Network(network.module, preprocess=torch.sin), shown(), **SMALL)


def test_labels_that_are_missing_are_counted() -> None:
    stimuli = shown()
    table = stimuli.metadata
    table.loc[[3, 5], "category"] = None
    holed = StimulusSet.from_arrays(stimuli.images(range(80)), metadata=table)
    with pytest.raises(TrainingError, match=r"2 stimuli of arrays have no 'category' \(the first is 3\)"):
        train("supervised", NETWORK, holed, **SMALL)


def test_an_input_that_no_stimulus_has_is_named() -> None:
    class Hearing(Toy):
        @property
        def needs(self):
            spec = super().needs["image"]
            return {"image": spec, "sound": spec._replace(kind="wave")}

    with pytest.raises(TrainingError, match="toy needs 'wave', which arrays does not have"):
        train(Hearing, NETWORK, shown(), **SMALL)


def test_images_of_several_sizes_are_refused_before_the_first_step(tmp_path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for index in range(24):
        side = 32 + 8 * (index == 20)
        Image.fromarray(rng.integers(0, 256, (side, 32, 3), dtype=np.uint8)).save(tmp_path / f"{index:02d}.png")
    options = {**SMALL, "batch_size": 8, "held_out": 8}
    with pytest.raises(StimulusError, match=r"size=64 \(--size 64\)"):
        train("simclr", NETWORK, str(tmp_path), **options)
    assert train("simclr", NETWORK, str(tmp_path), **options, size=32).plan["size"] == [32, 32]


# The folder


def test_a_finished_training_is_taken_as_it_is(finished) -> None:
    folder, result = finished
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = train("supervised", NETWORK, shown(), into=folder, **SMALL)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert again.network.digest == result.network.digest and again.network.name == result.network.name
    assert again.curve.equals(result.curve) and again.references == result.references


def test_the_folder_is_the_address_of_the_network(finished) -> None:
    folder, result = finished
    network = netphys.load_network(str(folder))
    assert network.digest == result.network.digest and network.training == "supervised"
    loaded = load_training(folder)
    ours, theirs = result.objective.state_dict(), loaded.objective.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert loaded.objective.classes == ("kind 0", "kind 1", "kind 2", "kind 3")
    assert loaded.plan == result.plan


def test_another_training_is_refused_with_what_differs(tmp_path) -> None:
    folder = tmp_path / "out"
    train(Toy, NETWORK, shown(), into=folder, **SMALL)
    # the seed makes the untrained network, too
    with pytest.raises(TrainingError, match=r"which differs in network, seed \(0 there, 1 asked for\); choose another"):
        train(Toy, NETWORK, shown(), into=folder, **SMALL, seed=1)
    forced = train(Toy, NETWORK, shown(), into=folder, **SMALL, seed=1, force=True)
    assert netphys.load_network(str(folder)).digest == forced.network.digest
    assert load_training(folder).objective is None and load_training(folder, objective=Toy).objective is not None


def test_a_network_that_was_not_trained_there_is_not_written_over(tmp_path) -> None:
    from netphys.networks import save_network

    save_network(tmp_path / "out", netphys.load_network(NETWORK), {})
    with pytest.raises(TrainingError, match="holds a network that was not trained there"):
        train(Toy, NETWORK, shown(), into=tmp_path / "out", **SMALL)


def test_a_trained_network_is_trained_on(tmp_path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    train(Toy, NETWORK, shown(), into=first, **SMALL)
    with pytest.raises(TrainingError, match="holds the network that this training begins with"):
        train(Toy, str(first), shown(), into=first, **SMALL, force=True)
    result = train("supervised", str(first), shown(), into=second, **SMALL)
    shutil.rmtree(first)
    assert netphys.load_network(str(second)).digest == result.network.digest
    assert load_training(second).network.digest == result.network.digest


def test_a_training_whose_architecture_is_gone_is_replaced_by_force(tmp_path) -> None:
    file, folder = tmp_path / "mine.py", tmp_path / "out"
    file.write_text("import netphys\n\n\ndef make():\n    return netphys.load_network('" + NETWORK + "').module\n")
    network = netphys.load_network(f"{file}:make")
    train(Toy, network, shown(), into=folder, **SMALL)
    file.unlink()
    with pytest.raises(AddressError, match="no file"):
        train(Toy, network, shown(), into=folder, **SMALL)
    assert train(Toy, network, shown(), into=folder, **SMALL, force=True).network.training == "toy"


@pytest.mark.parametrize("name", ["training.json", "objective.safetensors", "curve.csv", "network.toml"])
def test_damage_is_said_and_mended_by_force(tmp_path, name: str) -> None:
    folder = tmp_path / "out"
    result = train(Toy, NETWORK, shown(), into=folder, **SMALL)
    (folder / name).write_bytes((folder / name).read_bytes()[:-20])
    with pytest.raises(TrainingError, match="--force"):
        train(Toy, NETWORK, shown(), into=folder, **SMALL)
    assert train(Toy, NETWORK, shown(), into=folder, **SMALL, force=True).network.digest == result.network.digest


def test_a_result_saves_itself(tmp_path) -> None:
    result = train("colorization", NETWORK, shown(), **SMALL, options=TARGETS["colorization"])
    result.save(tmp_path / "saved")
    loaded = load_training(tmp_path / "saved")
    assert loaded.network.digest == result.network.digest
    assert loaded.network.preprocess == Preprocess(colour="lightness")
    assert loaded.curve.equals(result.curve)


def test_a_result_says_the_finding(finished) -> None:
    result = finished[1]
    assert "supervised: held-out loss" in repr(result) and "untrained" in repr(result) and "chance 1.39" in repr(result)
    frame = result.to_frame()
    assert frame["training"].unique().tolist() == ["supervised"] and "reference_chance" in frame


def test_the_curve_is_drawn_with_those_who_learned_nothing(finished) -> None:
    ax = finished[1].plot()
    words = {each.get_text() for each in ax.texts}
    assert {"untrained", "chance", "prior"} <= words
    dashed = [line for line in ax.lines if line.get_linestyle() not in ("-", "None")]
    assert len(dashed) == len(words)
    places = sorted(each.get_position()[1] for each in ax.texts)
    assert min(np.diff(places)) > 0.05  # words do not lie on each other
