"""Make the tables of the README and of the pages anew from the committed JSON files."""

from __future__ import annotations

from pathlib import Path

from overtone.evaluation.results import update_page

HERE = Path(__file__).parent

if __name__ == "__main__":
    for page in ("README.md", "docs/RESULTS.md", "docs/REPRODUCE.md"):
        changed = update_page(HERE.parent / page, HERE / "results")
        print(f"{page}: tables made anew" if changed else f"{page}: nothing changed")
