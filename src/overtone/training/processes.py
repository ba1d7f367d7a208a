"""The processes that share a fit, one or several, through Accelerate."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from overtone.errors import TrainingError


def accelerator_for(precision: str) -> Accelerator:
    """An accelerator of the wished precision; accelerate keeps one a process, so an older one is forgotten.

    Raises:
        TrainingError: fewer processes take part than were started.
    """
    AcceleratorState._reset_state()
    accelerator = Accelerator(
        mixed_precision="bf16" if precision == "bf16" else "no", cpu=not torch.cuda.is_available()
    )
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if accelerator.num_processes != wanted:
        raise TrainingError(
            f"{wanted} processes were started, but {accelerator.num_processes} take part",
            hint="start them with: torchrun --nproc_per_node 2 -m overtone.cli run RECIPE",
        )
    return accelerator
