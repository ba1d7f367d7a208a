"""Make the pages of the studies, and their index, anew from the committed results."""

from __future__ import annotations

from pathlib import Path

from overtone.study import publish

HERE = Path(__file__).parent

if __name__ == "__main__":
    publish(HERE.parent / "docs" / "studies", HERE / "results")
    print("docs/studies: pages made anew")
