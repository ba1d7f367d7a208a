"""Make the README's tables of results anew from the committed JSON files."""

from __future__ import annotations

from pathlib import Path

from overtone.evaluation.results import update_readme

HERE = Path(__file__).parent

if __name__ == "__main__":
    changed = update_readme(HERE.parent / "README.md", HERE / "results")
    print("README.md: tables made anew" if changed else "README.md: nothing changed")
