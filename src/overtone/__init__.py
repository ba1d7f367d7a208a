"""Overtone adapts small language models to people, proves that it helped, and serves the result."""
