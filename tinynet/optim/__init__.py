"""Optimizers, schedules of the learning rate, and clipping of gradients."""

from tinynet.optim.adam import Adam, AdamW
from tinynet.optim.clipping import clip_global_norm
from tinynet.optim.optimizer import Optimizer
from tinynet.optim.schedule import Cosine, OneCycle, Schedule, StepDecay
from tinynet.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Cosine", "OneCycle", "Optimizer", "Schedule", "StepDecay", "clip_global_norm"]
