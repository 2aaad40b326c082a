"""How does it learn? The loop, the batches, schedules, checkpoints, and the folder of a trained network."""

from netphys.training.preparing import Asked
from netphys.training.results import TrainingResult
from netphys.training.schedule import rate_at
from netphys.training.store import load_training
from netphys.training.trainer import train, training_plan

__all__ = ["Asked", "TrainingResult", "load_training", "rate_at", "train", "training_plan"]
