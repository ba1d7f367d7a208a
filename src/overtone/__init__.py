"""Overtone adapts small language models to people, proves that it helped, and serves the result.

``overtone.load(run)`` gives a trained run; its ``classify`` takes a text or many.
"""

import logging
import os
from typing import TYPE_CHECKING, Any

# Threads that spin at a barrier stall one another as soon as another program wants a core: on two busy cores
# training ran many times slower than with threads that sleep. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# PEFT imports bitsandbytes where it is installed, which says at every start that it lacks a package; what it
# has of its own does.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)

if TYPE_CHECKING:
    from overtone.system import System, load

__all__ = ["System", "load"]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the public name holds
    """Import the public names when they are first asked for, so that the command line starts fast."""
    if name in __all__:
        from overtone import system

        return getattr(system, name)
    raise AttributeError(f"module 'overtone' has no attribute '{name}'")
