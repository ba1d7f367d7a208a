"""The house of `DESIGN.md`: which part may import which, and what a file may hold."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import overtone

ROOT = Path(overtone.__file__).parent
LEVELS = [
    {"errors"},
    {"cache", "config", "schema", "scores", "breakdown", "correlation", "likelihood", "progress", "run"},
    {"data"},
    {"models"},
    {"training"},
    {"inference"},
    {"evaluation"},
    {"apps"},
    {"recipe", "recipes", "grid", "kinds", "language_recipe", "embedder_recipe"}
    | {"chat_recipe", "companion_recipe", "preference_recipe", "seq2seq_recipe"},
    {"system", "lineage", "teaching", "claim", "mining", "exam", "eq_exam", "eq_scenarios", "listener"}
    | {"chat_prompt", "companion_prompt", "preference_pairs"}
    | {"language_system", "chat_system", "companion_system", "seq2seq_system"},
    {"proof", "language_proof", "embedder_proof", "chat_likelihood", "chat_proof", "companion_proof"}
    | {"preference_proof", "seq2seq_proof"},
    {"pipeline", "language_model", "embedder_model", "chat_model", "companion_model", "preference_model"}
    | {"seq2seq_model"},
    {"study", "jury", "judging", "exporting"},
    {"doctor", "memory", "backbones"},
    {"cli", "cli_bench", "cli_known", "cli_generate", "cli_chat", "cli_export", "dispatch"},
]
"""From the top of the page to its bottom; imports point up, or stay on a level."""

LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
FORBIDDEN = {("training", "inference"), ("training", "evaluation"), ("apps", "training")}
MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


def part_of(module):
    """The folder or file directly below the package: overtone.data.split → data."""
    return module.split(".")[1]


def only_for_types(tree):
    """The imports that no running program makes."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }


def imported(path):
    """The modules of the package that a file imports, wherever in the file it does."""
    tree = ast.parse((ROOT / path).read_text())
    skipped = only_for_types(tree)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("overtone"))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("overtone"):
            if node.module == "overtone":
                yield from (f"overtone.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relative to itself"


def wrong_arrows(part, modules):
    """The imports of a part that point down the page."""
    return [
        module
        for module in modules
        if LEVEL[part_of(module)] > LEVEL[part] or (part, part_of(module)) in FORBIDDEN
    ]


@pytest.mark.parametrize("path", [path for path in MODULES if path != "__init__.py"])
def test_imports_point_up_the_page(path):
    part = path.split("/")[0].removesuffix(".py")
    assert part in LEVEL, f"{part} has no place on the page yet"
    assert wrong_arrows(part, imported(path)) == []


def test_an_arrow_that_points_down_is_found():
    assert wrong_arrows("training", ["overtone.evaluation.compare"])
    assert wrong_arrows("apps", ["overtone.training.loop", "overtone.run"]) == ["overtone.training.loop"]
    assert wrong_arrows("data", ["overtone.models.model", "overtone.errors"]) == ["overtone.models.model"]
    assert wrong_arrows("cli", ["overtone.pipeline", "overtone.data.split"]) == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.endswith("/__init__.py")])
def test_a_package_s_init_is_a_map_alone(path):
    tree = ast.parse((ROOT / path).read_text())
    assert ast.get_docstring(tree)
    assert len(tree.body) == 1


def test_the_package_itself_imports_nothing_slow():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    names = {
        alias.name
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names == {"logging", "os", "TYPE_CHECKING", "Any"}


@pytest.mark.parametrize("path", MODULES)
def test_a_file_is_one_idea(path):
    text = (ROOT / path).read_text()
    assert len(text.splitlines()) <= 440  # about 400
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", MODULES)
def test_nothing_is_pickled(path):
    tree = ast.parse((ROOT / path).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & {"pickle", "joblib", "dill"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "torch":
            assert node.attr not in ("load", "save")
