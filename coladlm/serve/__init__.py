"""Serving: one thread owns the model, and the requests of all visitors share it and its batches."""

from .queue import Limits
from .requests import BusyError, ClosingError, Events, SlowError, Waiting
from .scheduler import Scheduler
from .tasks import Steps

__all__ = ["BusyError", "ClosingError", "Events", "Limits", "Scheduler", "SlowError", "Steps", "Waiting"]
