"""Optimizers, schedules of the learning rate, and clipping of gradients."""

from typing import TYPE_CHECKING

from tinynet.elsewhere import in_modules
from tinynet.optim.adam import Adam, AdamW
from tinynet.optim.clipping import clip_global_norm
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Cosine, OneCycle, Schedule, StepDecay, Warmup
from tinynet.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Cosine", "OneCycle", "Optimizer", "Schedule", "StepDecay", "Warmup",
           "clip_global_norm"]

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.optim": __all__})
