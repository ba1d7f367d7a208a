"""Overtone adapts small language models to people, proves that it helped, and serves the result."""

import os

# Threads that spin at a barrier stall one another as soon as another program wants a core: on two busy cores
# training ran twenty times slower than with threads that sleep. OpenMP reads this once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
