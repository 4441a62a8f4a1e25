"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch


def machine_facts(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Processor, cores that this process may use, threads, torch, and the accelerator where one is used."""
    facts: dict[str, Any] = {
        "processor": processor_name(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    if torch.device(device).type == "cuda":
        facts["accelerator"] = torch.cuda.get_device_name(device)
    return facts


def processor_name() -> str:
    """The processor's name as Linux tells it, else what the platform says."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
