"""Where Overtone keeps what it downloads, converts or computes once for every run."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder(kind: str) -> Path:
    """The folder of one kind of thing, such as ``data``, ``weights`` or ``states``; it need not exist yet.

    ``$OVERTONE_CACHE/<kind>``, else ``$XDG_CACHE_HOME/overtone/<kind>``, else ``~/.cache/overtone/<kind>``.
    """
    own, shared = os.environ.get("OVERTONE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    root = Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "overtone"
    return root / kind
