"""The autoregressive baseline that ships with the program, loaded when it is first wanted."""

from __future__ import annotations

import threading

import torch

from .baseline import Baseline


class BundledBaseline:
    """Holds the baseline; several threads may ask for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._baseline: Baseline | None = None

    def get(self, device: torch.device | str) -> Baseline:
        """The baseline on `device`, that of the first call. Raises CheckpointError, ConfigError (ValueError)."""
        with self._lock:
            if self._baseline is None:
                self._baseline = Baseline.from_pretrained(device=device)
            return self._baseline
