"""The processes that share a fit, one or several, through Accelerate."""

from __future__ import annotations

import os

import torch
from accelerate import Accelerator

from overtone.errors import TrainingError


def accelerator() -> Accelerator:
    """An accelerator over the processes that were started.

    Its precision is left alone: the loop computes under autocast, so that no model is changed by having been
    trained.

    Raises:
        TrainingError: fewer processes take part than were started.
    """
    made = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
    wanted = int(os.environ.get("WORLD_SIZE", "1"))
    if made.num_processes != wanted:
        raise TrainingError(
            f"{wanted} processes were started, but {made.num_processes} take part",
            hint="start them with: torchrun --nproc_per_node 2 -m overtone.cli run RECIPE",
        )
    return made
