"""train: let a network learn by an objective, into a folder that a kill cannot spoil.

The same call goes on where a killed one stopped, bit for bit, and returns at once when its training is finished. What
it would do, and all that its result depends on, is :func:`training_plan`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from netphys.errors import NetphysError, OptionError, TrainingError
from netphys.files import ensure_folder, locked, sweep
from netphys.progress import bar
from netphys.seeds import derive_seed, forked_torch
from netphys.training.batches import Batches
from netphys.training.checkpoints import (
    CHECKPOINT,
    Checkpoint,
    capture,
    differences,
    objective_state,
    part,
    read_checkpoint,
    restore,
    write_checkpoint,
)
from netphys.training.engine import Engine
from netphys.training.images import images_of
from netphys.training.loop import Loop
from netphys.training.optimizers import Optimizers
from netphys.training.preparing import Asked, Setup, prepare
from netphys.training.results import TrainingResult
from netphys.training.store import finished_plan, is_stranger, load_training, unfinish, write_training

if TYPE_CHECKING:
    from netphys.networks import Network
    from netphys.objectives.contract import Objective
    from netphys.stimuli import StimulusSet

__all__ = ["train", "training_plan"]

SAVE_SECONDS = 60.0  # between checkpoints, unless told
_FIT_BATCHES = 256  # of the first epoch, from which an objective learns its targets


def train(
    objective: str | type[Objective],
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    *,
    into: Path | str | None = None,
    n_steps: int = 500,
    batch_size: int = 128,
    rate: float | None = None,
    weight_decay: float = 0.05,
    warm_up: float = 0.05,
    labels: str = "category",
    held_out: float | int = 0.1,
    evaluate_every: int | None = None,
    save_every: int | str | None = None,
    size: int | None = None,
    precision: str = "auto",
    device: str = "auto",
    seed: int = 0,
    options: Mapping[str, Any] = {},
    callbacks: Sequence[Callable[..., Any]] = (),
    force: bool = False,
) -> TrainingResult:
    """Train a network.

    Parameters
    ----------
    objective : str or class
        Name of an objective (``netphys.objectives.OBJECTIVES``), or a class that follows its contract.
    network : Network, torch.nn.Module or address
        What learns. It is copied, and left as it was found; the linear head of a classifier is taken off the copy.
    stimuli : StimulusSet, address, or array (stimulus, 3, y, x)
        What it learns from.
    into : Path, optional
        The folder of the result, which then is an address of the network. Default: memory.
    n_steps : int
        How often the parameters are changed.
    batch_size : int
        Stimuli a step, on all ranks together.
    rate : float, optional
        Highest learning rate of AdamW. Default 0.001.
    weight_decay : float
        Of kernels and matrices.
    warm_up : float
        Share of the steps over which the rate rises; then it falls as half a cosine.
    labels : str
        Column of the metadata that holds the labels, for objectives that need them.
    held_out : float or int
        Share of the stimuli (or how many) that are never trained on; at least one batch where the loss depends on the
        batch.
    evaluate_every : int, optional
        Steps between evaluations on held-out stimuli. Default: a tenth of the steps.
    save_every : int or str, optional
        Steps between checkpoints, or seconds as ``"60s"``, the default. Numbers do not depend on it.
    size : int, optional
        Images are resized (the shorter side) and cropped to the central square of this side, pixels. Needed where they
        differ in size.
    precision : {"auto", "float32", "bfloat16"}
        Of forwards and backwards; ``"auto"`` is bfloat16 where the device computes it faster.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``.
    seed : int
        The same call with the same seed gives the same bits on the same machine.
    options : mapping
        Options of the objective.
    callbacks : sequence of callables
        Called at every evaluation with the number of steps done and the objective, in eval mode; the mapping that they
        return joins the curve.
    force : bool
        Replace another training (finished or not) at `into`.

    Returns
    -------
    TrainingResult

    Raises
    ------
    TrainingError
        If an input that the objective needs is missing, another training is in the way, or the loss is no number.
    OptionError
        If an option is not understood.
    OutputError
        If `into` cannot be written.

    Notes
    -----
    All images are held as uint8: generated ones are rounded to 1/255.

    Examples
    --------
    >>> result = train("simclr", "netphys:small_alexnet?width=4", "world:scenes?n=40&size=32", n_steps=2, batch_size=16)
    >>> result.network.training
    'simclr'
    """
    asked = Asked(
        n_steps, batch_size, rate, weight_decay, warm_up, labels, held_out, evaluate_every, size, precision, device,
        seed, options, tuple(callbacks),
    )  # fmt: skip
    due = _Due(save_every)
    setup = prepare(objective, network, stimuli, asked)
    engine = Engine(device, precision)
    if into is None:
        return _trained(setup, engine)
    if not setup.network.address:
        raise OptionError(
            f"{setup.network.name} has no address, so that no file can say its architecture; give an address "
            "(netphys:small_alexnet, FILE.py:FUNCTION), or train into memory (into=None)"
        )
    if Path(setup.network.address.partition("?")[0]).resolve() == Path(into).resolve():
        raise TrainingError(f"{into} holds the network that this training begins with; choose another --out")
    return _into(Path(into), setup, engine, due, objective, force=force)


def training_plan(
    objective: str | type[Objective],
    network: Network | torch.nn.Module | str,
    stimuli: StimulusSet | str | Any,
    **options: Any,
) -> dict[str, Any]:
    """Say what :func:`train` would do: all that its result depends on, as plain data; nothing is trained.

    Parameters
    ----------
    objective, network, stimuli, **options
        As :func:`train` takes them; `into`, `save_every` and `force` change nothing.
    """
    kept = {key: value for key, value in options.items() if key not in ("into", "save_every", "force")}
    return prepare(objective, network, stimuli, Asked(**kept)).plan


def _into(
    folder: Path, setup: Setup, engine: Engine, due: _Due, objective: str | type[Objective], *, force: bool
) -> TrainingResult:
    """Train into a folder, or take what is finished there."""
    ensure_folder(folder)
    alone = engine.ranks.rank == 0
    waiting = f"waiting for another process that is training into {folder}"
    with locked(folder / ".training.lock", waiting=waiting) if alone else nullcontext():
        engine.barrier()
        path, kind = folder / CHECKPOINT, None if isinstance(objective, str) else objective
        there = _there(folder, setup, kind, force=force)
        checkpoint = None if there else _begun(path, setup.plan, force=force)
        engine.barrier()  # nobody writes before all have looked
        if there:
            if alone:
                path.unlink(missing_ok=True)  # a kill between the two leaves it
            return there
        if alone:
            sweep(folder)
            if checkpoint is None:
                unfinish(folder)
                path.unlink(missing_ok=True)
        result = _trained(setup, engine, path=path, due=due, checkpoint=checkpoint)
        if alone:
            write_training(folder, result)
            path.unlink(missing_ok=True)
        engine.barrier()
    return result


def _there(folder: Path, setup: Setup, kind: type[Objective] | None, *, force: bool) -> TrainingResult | None:
    """Read this very training, if it is finished; refuse another one, unless forced."""
    try:
        found = finished_plan(folder)
        if found is None:
            if is_stranger(folder, setup.plan) and not force:
                raise TrainingError(
                    f"{folder} holds a network that was not trained there; choose another --out, or --force"
                )
            return None
        differ = differences(setup.plan, found)
        if differ:
            raise TrainingError(
                f"{folder} holds another training, which differs in {differ}; choose another --out, or --force"
            )
        result = load_training(folder, objective=kind)
    except NetphysError:  # its architecture may be gone, too
        if force:
            return None
        raise
    named = replace(result.network, name=setup.network.name, address=setup.network.address)
    return replace(result, network=named)


def _begun(path: Path, plan: Mapping[str, Any], *, force: bool) -> Checkpoint | None:
    """Read the checkpoint of this training; refuse another one's, unless forced."""
    if not path.is_file():
        return None
    try:
        checkpoint = read_checkpoint(path)
        differ = differences(plan, checkpoint.plan)
        if differ:
            raise TrainingError(
                f"{path.parent} holds a training that was begun and differs in {differ}; choose another --out, "
                "or --force"
            )
    except TrainingError:
        if force:
            return None
        raise
    return checkpoint


def _trained(
    setup: Setup,
    engine: Engine,
    *,
    path: Path | None = None,
    due: _Due | None = None,
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train to the end."""
    plan = setup.plan
    images = images_of(setup.stimuli, setup.sizer, engine.device, size=setup.size)
    labels = None if setup.labels is None else torch.from_numpy(setup.labels).to(engine.device)
    batches = Batches(
        images, labels, setup.objective.needs, training=setup.training, held_out=setup.held_out,
        batch_size=plan["batch_size"], seed=plan["seed"], device=engine.device,
        rank=engine.ranks.rank, n_ranks=engine.ranks.n,
    )  # fmt: skip
    try:
        with forked_torch(derive_seed(plan["seed"], "training")):
            loop = _begin(setup, engine, batches, checkpoint)
            _run(loop, path if engine.ranks.rank == 0 else None, due or _Due(None))
    except TrainingError:
        if path and engine.ranks.rank == 0:
            path.unlink(missing_ok=True)  # it would end in the same step again
        raise
    finally:
        batches.close()
    return _result(setup, loop)


def _run(loop: Loop, path: Path | None, due: _Due) -> None:
    """Train to the end, and write a checkpoint when one is due, and at a Ctrl-C."""
    label = f"training {loop.plan['objective']}"
    with bar(loop.n_steps, label=label, unit="step") as progress, _deferring() as stop:
        progress.update(loop.done)
        for done in loop.run():
            progress.update(1)
            if not loop.n_waiting:
                progress.set_postfix(loss=f"{loop.last_loss:.3g}", refresh=False)
            if path and (due(done) or stop.is_set()) and done < loop.n_steps:
                write_checkpoint(path, capture(loop))
            if stop.is_set():
                raise KeyboardInterrupt


def _begin(setup: Setup, engine: Engine, batches: Batches, checkpoint: Checkpoint | None) -> Loop:
    """Make the loop: targets fitted and references measured, or everything as the checkpoint has it."""
    objective = setup.objective
    if checkpoint is not None:
        objective.load_state_dict(objective_state(checkpoint))
    objective.to(engine.device)
    if any(isinstance(each, torch.nn.Conv2d) for each in objective.modules()):
        objective.to(memory_format=torch.channels_last)
    if engine.ranks.n > 1 and engine.device.type == "cuda":
        objective = torch.nn.SyncBatchNorm.convert_sync_batchnorm(objective)
    if checkpoint is None:
        objective.fit_targets(batches.of_training(_FIT_BATCHES))
    optimizers = Optimizers(objective, weight_decay=setup.plan["weight_decay"])
    loop = Loop(objective, optimizers, batches, engine, setup.plan, setup.callbacks)
    if checkpoint is None:
        loop.begin()
    else:
        restore(loop, checkpoint)
    return loop


def _result(setup: Setup, loop: Loop) -> TrainingResult:
    """Take the trunk out of the objective, into the module that it was a copy of."""
    state = {name: each.detach().cpu().contiguous() for name, each in loop.objective.state_dict().items()}
    module = setup.network.module
    module.load_state_dict(part(state, "trunk."))
    module.eval()
    for parameter in loop.objective.parameters():
        parameter.grad = None
    objective = loop.objective.to("cpu").to(memory_format=torch.contiguous_format).eval()
    network = replace(setup.network, module=module)
    return TrainingResult(network, objective, loop.curve(), loop.references, setup.plan)


class _Due:
    """When a checkpoint is due: every so many steps, or seconds."""

    def __init__(self, every: int | str | None) -> None:
        self._steps, self._seconds, self._last = 0, SAVE_SECONDS, time.monotonic()
        if isinstance(every, int) and not isinstance(every, bool) and every > 0:
            self._steps = every
        elif isinstance(every, str) and every.endswith("s") and every[:-1].replace(".", "", 1).isdigit():
            self._seconds = float(every[:-1])
        elif every is not None:
            raise OptionError(f"save_every={every!r} is neither a number of steps from 1 nor seconds as '60s'")

    def __call__(self, done: int) -> bool:
        if self._steps:
            return done % self._steps == 0
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


@contextmanager
def _deferring() -> Iterator[threading.Event]:
    """Let a Ctrl-C wait for the end of the step, so that a checkpoint can be written; a second one does not wait."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    former = signal.getsignal(signal.SIGINT)
    if former is not signal.default_int_handler:  # somebody else decides what it means
        yield stop
        return

    def wait(number: int, frame: Any) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, wait)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)
