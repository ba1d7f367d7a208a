"""The committed figures of the benchmark scripts, and the tables of the pages, made from them."""

from __future__ import annotations

import fnmatch
import math
import os
import platform
import re
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from overtone.errors import DataError, RunError, did_you_mean
from overtone.run import read_json, write_atomic, write_json

NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(\.[a-z0-9][a-z0-9_-]*){1,}")
"""``<recipe or part>.<split or setting>.<measure>``: dotted, lower case; an only setting may be left out."""

PACKAGES = ("overtone", "torch", "transformers", "accelerate", "peft", "numpy", "scipy", "scikit-learn")
"""Packages whose versions a figure may depend on."""

COUNTED = ("count", "rows", "cases", "resamples", "texts")
"""Units of whole numbers."""

MARKED = re.compile(r"<!-- results:([\w.-]+)((?: [\w.*-]+)*) -->\n.*?<!-- /results -->", re.DOTALL)
DIRTY = "+dirty"
"""Follows a commit from which tracked files differ."""

OPENING, CLOSING = "<!-- results:", "<!-- /results -->"
EVERY = "every"
"""The name under which a page shows no figures, but the command of every file of results."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a benchmark.

    Args:
        name: ``<recipe or part>.<split or setting>.<measure>``; a ratio ends in ``.ratio``, a paired
            difference in ``.difference``.
        value: the figure.
        low: lower bound of its 95% interval, where it has one.
        high: upper bound.
        n: the rows, texts or repeats that it is made of.
        unit: what it counts, such as ``share``, ``ratio``, ``texts/s``.
        against: what it should be read beside, such as "published best 0.930".
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str = "share"
    against: str | None = None

    def __post_init__(self) -> None:
        """Check it.

        Raises:
            DataError: a name of another form, a value that is not finite, or half an interval.
        """
        if not NAME.fullmatch(self.name):
            raise DataError(
                f"'{self.name}' does not name a figure",
                hint="<recipe or part>.<split or setting>.<measure>, lower case: emotion-6.test.accuracy",
            )
        numbers = [x for x in (self.value, self.low, self.high) if x is not None]
        if not all(map(math.isfinite, numbers)):
            raise DataError(f"'{self.name}' is not a finite number", hint="leave it out, and say why")
        if len(numbers) == 2 or (self.low is not None and self.high is not None and self.low > self.high):
            raise DataError(f"'{self.name}' has no proper interval", hint="give low and high, low first")


@dataclass(frozen=True, slots=True)
class Results:
    """What one benchmark script printed.

    Args:
        command: what makes it again.
        commit: of the repository, followed by "+dirty" where files differ from it, or "unknown".
        date: of the run, ISO 8601, UTC.
        seed: the script's only seed.
        hardware: cores, processor, memory, and the GPU where there is one.
        versions: package → version.
        figures: in the order in which they are to be read.
    """

    command: str
    commit: str
    date: str
    seed: int
    hardware: str
    versions: dict[str, str]
    figures: tuple[Figure, ...]


def environment() -> dict[str, Any]:
    """What a figure may depend on besides its recipe: commit, date, hardware, versions."""
    return {
        "commit": _commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": _hardware(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def write_results(path: Path, command: str, seed: int, figures: Sequence[Figure]) -> Results:
    """Write what a benchmark script printed, with what it depends on.

    Raises:
        DataError: two figures of one name, or none at all.
        RunError: the file could not be written.
    """
    repeated = [name for name, n in Counter(figure.name for figure in figures).items() if n > 1]
    if repeated or not figures:
        raise DataError(
            f"{path.name}: " + (f"'{repeated[0]}' stands twice" if repeated else "there are no figures"),
            hint="give each figure its own name",
        )
    results = Results(command=command, seed=seed, figures=tuple(figures), **environment())
    value = asdict(results)
    value["figures"] = [{k: v for k, v in figure.items() if v is not None} for figure in value["figures"]]
    write_json(path, value)
    return results


def load_results(path: Path) -> Results:
    """Read a results file.

    Raises:
        RunError: the file is missing or not JSON.
        DataError: it is not a results file, or one of its figures is malformed.
    """
    value = read_json(path)
    try:
        return Results(**{**value, "figures": tuple(Figure(**figure) for figure in value["figures"])})
    except (TypeError, KeyError) as error:
        raise DataError(f"{path} is not a results file: {error}", hint="run its benchmark again") from error


def table(results: Results, names: Sequence[str] = ()) -> str:
    """The figures as a Markdown table, and a line that says how to make them again.

    Args:
        results: of one script.
        names: of the figures that are shown, ``*`` for any part; all without.

    Raises:
        DataError: no figure has such a name.
    """
    every = [figure.name for figure in results.figures]
    for name in names:
        if not fnmatch.filter(every, name):
            raise DataError(f"{results.command} gives no figure '{name}'", hint=did_you_mean(name, every))
    shown = [
        each for each in results.figures if not names or any(fnmatch.fnmatch(each.name, n) for n in names)
    ]
    rows = ["| figure | value (95% interval) | n | unit | beside |", "| --- | ---: | ---: | --- | --- |"]
    for figure in shown:
        interval = ""
        if figure.low is not None and figure.high is not None:
            interval = f" ({_number(figure.low, figure.unit)} to {_number(figure.high, figure.unit)})"
        cells = (
            f"`{figure.name}`",
            _number(figure.value, figure.unit) + interval,
            "" if figure.n is None else f"{figure.n:,}",
            figure.unit,
            figure.against or "",
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    torch_version = results.versions.get("torch", "unknown")
    made = f"`{results.command}` · seed {results.seed} · commit {_short(results.commit)} · {results.date}"
    return "\n".join([*rows, "", f"{made} · {results.hardware} · torch {torch_version}"])


def commands(results_dir: Path) -> str:
    """A Markdown table of every file of results: what made it, where it stood, how many figures it has."""
    rows = ["| results | command | figures | commit | date | on |", "| --- | --- | ---: | --- | --- | --- |"]
    for path in sorted(results_dir.glob("*.json")):
        found = load_results(path)
        cells = (
            f"`{path.stem}`",
            f"`{found.command}`",
            f"{len(found.figures):,}",
            _short(found.commit),
            found.date,
            found.hardware,
        )
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def render(text: str, results_dir: Path) -> str:
    """The text with every part between ``<!-- results:NAME -->`` and ``<!-- /results -->`` made anew.

    Names of figures may follow the name of the results, see ``table``; of the name ``every`` see
    ``commands``.

    Raises:
        DataError: a marker without its end, a name without a results file, or of no figure in it.
    """

    def made(match: re.Match[str]) -> str:
        name = match[1]
        if name == EVERY:
            return f"{OPENING}{EVERY} -->\n{commands(results_dir)}\n{CLOSING}"
        path = results_dir / f"{name}.json"
        if not path.is_file():
            known = [found.stem for found in results_dir.glob("*.json")]
            raise DataError(f"no results '{name}' in {results_dir}", hint=did_you_mean(name, known))
        return f"{OPENING}{name}{match[2]} -->\n{table(load_results(path), match[2].split())}\n{CLOSING}"

    found = [match[0] for match in MARKED.finditer(text)]
    if not text.count(OPENING) == text.count(CLOSING) == len(found):
        raise DataError(
            "a results marker has no partner", hint=f"write {OPENING}NAME --> and {CLOSING}, each on a line"
        )
    return MARKED.sub(made, text)


def update_page(path: Path, results_dir: Path) -> bool:
    """Make the tables of a Markdown file anew; whether that changed it.

    Raises:
        DataError: see ``render``.
        RunError: the file could not be read or written.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"could not read {path}: {error}") from error
    made = render(text, results_dir)
    if made == text:
        return False
    write_atomic(path, made)
    return True


def _number(value: float, unit: str) -> str:
    """Three decimals where they say something, the first digit of what is smaller, none of counts."""
    if unit in COUNTED or unit.startswith("count of "):
        return f"{value:,.0f}"
    if unit == "p" and value < 0.001:
        return "< 0.001"
    size = abs(value)
    if 0 < size < 0.0005:
        return f"{value:.0e}" if size < 1e-4 else f"{value:.4f}"
    return f"{value:.3f}" if size < 10 else f"{value:,.1f}" if size < 1000 else f"{value:,.0f}"


def _short(commit: str) -> str:
    bare = commit.removesuffix(DIRTY)
    return bare[:12] + commit[len(bare) :]


def _commit() -> str:
    """The commit that this package's code stands at, "+dirty" if it was changed since; else "unknown"."""
    here = Path(__file__)
    git = ("git", "-C", str(here.parent))
    try:
        # An installed copy may lie inside another project's repository, whose commit says nothing.
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], check=True, capture_output=True)
        found = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
        status = [*git, "status", "--porcelain", "--untracked-files=no"]
        changed = subprocess.run(status, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip() + (DIRTY if changed.stdout else "")


def _hardware() -> str:
    """Such as "2 cores AMD EPYC 7B13, 24 GB"."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{cores} cores {_processor()}"]
    if hasattr(os, "sysconf"):
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GB")
    if torch.cuda.is_available():
        parts.append(torch.cuda.get_device_name())
    return ", ".join(parts)


def _processor() -> str:
    """The processor's name without trademarks and clock."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return " ".join(re.sub(r"\((R|TM)\)|\bCPU\b|\bProcessor\b|@.*|\d+-Core", " ", name).split())


def _versions() -> dict[str, str]:
    """Installed packages among those that matter."""
    installed = {}
    for package in PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return installed
