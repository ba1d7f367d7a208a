"""The documents say what is there: commands, recipes, links, names and figures are checked."""

from __future__ import annotations

import ast
import json
import os
import random
import re
import shlex
import subprocess
import sys
import tomllib
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

from overtone import dispatch, kinds
from overtone import recipe as recipes
from overtone.cli import app
from overtone.data.fetch import SHIPPED, catalogue
from overtone.data.sources.overtone_emotions import edge_cases
from overtone.data.sources.table import TableSource
from overtone.errors import UsageError
from overtone.evaluation.compare import save_predictions
from overtone.evaluation.results import render
from overtone.models import weights
from overtone.run import Run
from overtone.scores import Predictions
from overtone.system import shipped
from toys import chat, embedder, language, write_answers, write_chat, write_collection, write_documents

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
DOCUMENTS += sorted((ROOT / "docs").glob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RESULTS = ROOT / "benchmarks" / "results"
LONG = {"run", "train", "evaluate", "doctor", "bench", "export", "judge", "data fetch", "weights fetch"}
"""Verbs that train, ask the network or take long: their commands are parsed, not run."""


def blocks(path: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(path.read_text(encoding="utf-8")) if kind == language]


def found_commands() -> list[list[str]]:
    """Every command line of the documents that is ours to check, as words, in order and without repeats."""
    found: dict[tuple[str, ...], None] = {}
    for path in DOCUMENTS:
        for block in blocks(path, "sh") + blocks(path, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line.removeprefix("$ "), comments=True)
                if words and words[0] in ("overtone", "make", "python"):
                    found.setdefault(tuple(words))
    return [list(words) for words in found]


COMMANDS = found_commands()
RECIPES = [block for path in DOCUMENTS for block in blocks(path, "yaml")]


def yaml_name(block: str) -> str:
    """The file name in the comment that each recipe in the documents starts with."""
    return block.splitlines()[0].removeprefix("# ")


def verb_of(words: list[str]) -> str:
    return " ".join(words[1:3]) if words[1] in ("data", "weights", "search") else words[1]


def parsed(words: list[str]) -> dict[str, object]:
    """The parameters of an ``overtone`` command, which is not run."""
    command, rest = typer.main.get_command(app), words[1:]
    while hasattr(command, "commands"):
        assert rest[0] in command.commands, f"no verb '{rest[0]}'"
        command, rest = command.commands[rest[0]], rest[1:]
    return command.make_context(command.name, rest).params


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands of the documents name."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "texts.txt").write_text("I finally did it!\nLeave me alone.\n", encoding="utf-8")
    (folder / "notes").mkdir()
    (folder / "notes" / "library.md").write_text("# Library\n\nIt closes at six.\n", encoding="utf-8")
    for block in RECIPES:
        (folder / yaml_name(block)).write_text(block, encoding="utf-8")
        values = yaml.safe_load(block)
        for task in values["tasks"].values():
            for source in task["data"]["sources"]:
                write_table(folder, source, task["data"]["labels"])
    rng = np.random.default_rng(0)
    for name in sorted(set(re.findall(r"runs/([\w.-]+)", str(COMMANDS)))):
        run = folder / "runs" / name
        if name.startswith("language"):
            texts = write_documents(folder / "documents.jsonl")
            dispatch.run(kinds.parse(language(texts, name=name), "test"), Run(run))
            continue
        if name.startswith(("tutor", "companion")):
            decoder, path = write_chat(folder / "decoder"), write_answers(folder / "answers.jsonl")
            dispatch.run(kinds.parse(chat(decoder, path, name=name), "test"), Run(run))
            continue
        if name.startswith("embedder"):
            if find_spec("bm25s") is not None:
                path = write_collection(folder / "collection")
                dispatch.run(kinds.parse(embedder(path, name=name), "test"), Run(run))
            continue
        (run / "evaluation" / "emotion").mkdir(parents=True)
        for part in ("recipe.yaml", "manifest.json", "model"):
            if (shipped() / part).exists():
                (run / part).symlink_to(shipped() / part)
        gold, shares = np.arange(12) % 3, rng.dirichlet(np.ones(3), 12)
        rows, labels = tuple(f"row/{i}" for i in range(12)), ("joy", "fear", "love")
        made = Predictions(rows, labels, gold, shares.argmax(axis=1), shares, ("row",) * 12)
        for system in ("test", "tfidf"):
            save_predictions(run / "evaluation" / "emotion" / f"{system}.jsonl", made)
    return folder


def write_table(folder: Path, source: dict[str, str], labels: list[str]) -> None:
    """A small table as the recipe describes it; no row is like another."""
    rng = random.Random(source["path"])
    numbers = source.get("numbers", [])
    known = [
        source["text"],
        *numbers,
        *(source[key] for key in ("label", "split", "context") if key in source),
    ]
    rows = [known]
    for i in range(20 * len(labels)):
        text = " ".join("".join(rng.choices("abcdefghij", k=5)) for _ in range(6))
        cells = {
            "label": labels[i % len(labels)],
            "split": rng.choice(["train", "validation", "test"]),
            "context": "what was said before",
        }
        measured = [str(rng.random()) for _ in numbers]
        rows.append([text, *measured, *(value for key, value in cells.items() if key in source)])
    (folder / source["path"]).write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")


def at_hand(words: list[str]) -> bool:
    """Whether the command is cheap, and has what it needs."""
    verb = verb_of(words)
    if words[0] != "overtone" or verb in LONG:
        return False
    if verb == "compare" and len([word for word in words[2:] if not word.startswith("-")]) < 2:
        return False  # a study trains for long
    if verb == "classify":
        return (shipped() / "model" / "labels.json").exists() and weights.find("minilm-l6") is not None
    if verb == "data tokenize":
        return "byte" in words  # the others are made on a large corpus first
    if verb.startswith("search "):
        return find_spec("bm25s") is not None and weights.find("minilm-l6") is not None
    if verb == "data show" and words[3] in catalogue() and not catalogue()[words[3]].card.shipped:
        return "OVERTONE_DATA" in os.environ
    return True


RUNNER = """
import contextlib, io, json, os, sys, traceback
from overtone import cli

def attempt(words):
    said = io.StringIO()
    sys.stdin = open(os.devnull)  # a command reads it to its end, as if the process were its own
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            if words[0] == "python":
                exec(words[1], {})
            else:
                sys.argv = words
                cli.main()
        except SystemExit as end:
            return [end.code or 0, said.getvalue()]
        except BaseException:
            return [1, said.getvalue() + traceback.format_exc()]
    return [0, said.getvalue()]

print(json.dumps([attempt(words) for words in json.loads(sys.argv[1])]))
"""
"""One process for all commands, since importing torch costs more than all of them."""


@pytest.fixture(scope="module")
def outcomes(workplace: Path) -> dict[str, tuple[int, str]]:
    """What each cheap command of the documents ended with and said, run in their order in a fresh folder."""
    chosen = [words for words in COMMANDS if at_hand(words)]
    chosen += [["python", block] for block in PYTHON if at_hand(["overtone", "classify"])]
    answer = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(chosen)],
        cwd=workplace,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    return {" ".join(words): (code, said) for words, (code, said) in zip(chosen, found, strict=True)}


PYTHON = [block for path in DOCUMENTS for block in blocks(path, "python")]


def test_there_are_commands_to_check():
    verbs = {verb_of(words) for words in COMMANDS if words[0] == "overtone"}
    assert {"run", "classify", "compare", "data list", "data show", "data fetch", "data schema"} <= verbs
    assert ["make", "demo"] in COMMANDS
    assert ["make", "test"] in COMMANDS


@pytest.mark.parametrize("words", COMMANDS, ids=shlex.join)
def test_a_command_does_what_it_says(words, request):
    match words[0]:
        case "make":
            targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
            assert set(words[1:]) - {word for word in words if "=" in word} <= set(targets)
        case "python" if words[1] == "-c":
            ast.parse(words[2])
        case "python":
            for word in words[1:]:
                assert word in ("-m", "pytest") or (ROOT / word).exists(), f"{word} is not there"
        case "overtone" if at_hand(words):
            code, said = request.getfixturevalue("outcomes")[" ".join(words)]
            assert code == 0, said
            assert said.strip() or "--output" in words or words == ["overtone", "classify"]
        case _:
            check_parameters(words, request.getfixturevalue("workplace"))


def check_parameters(words: list[str], workplace: Path) -> None:
    """The verb and its options are known, and so is the recipe, data set or set of weights that it names."""
    parameters, verb = parsed(words), verb_of(words)
    if verb in ("run", "train") and not str(parameters["recipe"]).startswith("runs/"):
        name = str(parameters["recipe"])
        kinds.read(str(workplace / name) if name.endswith(".yaml") else name, parameters["set_"])
    if verb.startswith("data ") and "name" in parameters:
        assert parameters["name"] in {*catalogue(), *recipes.shipped()}
    if verb.startswith("weights ") and "name" in parameters:
        assert parameters["name"] in weights.CATALOGUE


def test_a_wrong_command_would_be_noticed(workplace):
    with pytest.raises(AssertionError, match="no verb 'traim'"):
        parsed(["overtone", "traim", "emotion"])
    with pytest.raises(Exception, match="No such option"):
        parsed(["overtone", "run", "emotion", "--epochs", "3"])
    with pytest.raises(UsageError, match="no recipe 'emotoin'"):
        check_parameters(["overtone", "run", "emotoin"], workplace)


@pytest.mark.parametrize("block", PYTHON)
def test_a_python_example_runs(block, request):
    if not at_hand(["overtone", "classify"]):
        ast.parse(block)
        pytest.skip("the shipped classifier or its encoder is not here")
    code, said = request.getfixturevalue("outcomes")[f"python {block}"]
    assert code == 0, said


@pytest.mark.parametrize("block", RECIPES, ids=yaml_name)
def test_a_recipe_in_the_documents_is_one(block, workplace):
    assert f"{recipes.load(str(workplace / yaml_name(block))).name}.yaml" == yaml_name(block)


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path):
    for link in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{target.name} has no heading '{anchor}'"


def tree() -> set[str]:
    """The paths that the README's tree lists; folders end in a slash."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = text[text.index("## The tree") :].partition("```text\n")[2].partition("```")[0]
    found, above = set(), [""]
    for line in block.splitlines():
        name, depth = line.split()[0], (len(line) - len(line.lstrip())) // 2
        assert name.endswith("/") or len(line.split()) > 1, f"{name} has no purpose"
        del above[depth + 1 :]
        found.add(above[depth] + name)
        above.append(above[depth] + name if name.endswith("/") else above[depth])
    return found


def test_the_tree_is_the_real_one():
    listed = tree()
    assert [path for path in sorted(listed) if not (ROOT / path).exists()] == [], "listed, but not there"
    parents = {
        folder for folder in listed if any(path != folder and path.startswith(folder) for path in listed)
    }
    closed = tuple(path for path in listed if path.endswith("/") and path not in parents)
    real = set()
    for folder in ("src/overtone", "benchmarks", "docs"):
        for path in (ROOT / folder).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and "__pycache__" not in name and not name.startswith(closed):
                real.add(name)
    silent = {name for name in real if name.endswith(("/__init__.py", "/py.typed"))}
    assert sorted(real - listed - silent) == [], "there, but not listed"


def test_the_tables_are_those_of_the_results():
    if not any(RESULTS.glob("*.json")):
        pytest.skip("there are no results yet")
    for page in (ROOT / "README.md", ROOT / "docs" / "RESULTS.md", ROOT / "docs" / "REPRODUCE.md"):
        text = page.read_text(encoding="utf-8")
        assert text == render(text, RESULTS), (
            f"make the tables of {page.name} anew: python benchmarks/readme.py"
        )


def test_no_page_but_the_log_states_a_figure():
    for path in DOCUMENTS:
        prose = FENCE.sub(
            "", re.sub(r"<!-- results:.*?<!-- /results -->", "", path.read_text(), flags=re.DOTALL)
        )
        if path.name != "LOG.md":
            assert re.findall(r"\b0\.\d{2,}|\d\.\d%", prose) == [], path.name


def test_every_figure_of_the_log_is_called_a_prototype():
    text = (ROOT / "docs" / "LOG.md").read_text(encoding="utf-8")
    for entry in re.findall(r"^\*Gave:\*.*?(?=^\*So:\*)", text, re.DOTALL | re.MULTILINE):
        assert not re.search(r"\d", entry) or "prototype, not a published result" in " ".join(
            entry.split()
        ), entry


def test_every_recipe_is_described():
    pages = {
        name: (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
        for name in ("affect", "companion", "emotion", "language", "tutor")
    }
    pages["embedder"] = pages["language"]
    for name in recipes.shipped():
        page = pages[next((system for system in pages if name.startswith(system)), "emotion")]
        assert f"`{name}`" in page, name
        assert f"`{name}`" in (ROOT / "README.md").read_text(encoding="utf-8"), name


def test_every_dependency_has_its_line():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.match(r"[\w-]+", wish)[0] for wish in wanted}
    lines = (ROOT / "docs" / "DEPENDENCIES.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `([\w-]+)`", lines, re.MULTILINE)) == names


def data_page() -> str:
    return (ROOT / "docs" / "DATA.md").read_text(encoding="utf-8")


def test_the_layout_is_that_of_the_cards():
    layout = next(block for block in blocks(ROOT / "docs" / "DATA.md", "text") if "$OVERTONE_DATA" in block)
    listed = {line.split()[0].rstrip("/"): line.split()[1:] for line in layout.splitlines()[1:]}
    cards = [source.card for source in catalogue().values() if not source.card.shipped]
    folders = {card.folder or card.name for card in cards}
    assert listed == {
        folder: [name for card in cards if folder == (card.folder or card.name) for name in card.files]
        for folder in folders
    }


def test_the_sizes_are_those_of_the_cards():
    for name, source in catalogue().items():
        sizes = ", ".join(f"{size:,}" for size in source.card.sizes.values())
        assert re.search(rf"^\| `{name}` \| {sizes}", data_page(), re.MULTILINE), name


def test_the_shipped_set_is_as_described():
    rows = [
        line.split("\t") for line in (SHIPPED / "emotions.tsv").read_text(encoding="utf-8").splitlines()[1:]
    ]
    kinds = Counter(case.kind for case in edge_cases(SHIPPED))
    for what, count, names in (
        ("sentences", len(rows), {row[1] for row in rows}),
        ("registers", len({row[2] for row in rows}), {row[2] for row in rows}),
        ("edge cases", kinds.total(), set(kinds)),
    ):
        line = re.search(rf"^\| {what} \| ([\d,]+) \| (.+) \|$", data_page(), re.MULTILINE)
        assert line, what
        assert (line[1], set(line[2].split(", "))) == (f"{count:,}", names)


def test_every_key_of_a_table_is_explained():
    keys = re.findall(r"^\| `(\w+)` \| ", data_page().partition("## Your own table")[2], re.MULTILINE)
    assert set(keys) == set(TableSource.model_fields) - {"kind"}


def test_every_error_of_a_table_is_one_that_occurs():
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "src/overtone/errors.py", *(ROOT / "src/overtone/data").rglob("*.py"))
    )
    messages = re.findall(r"^\| `(.+?)` \|", data_page().partition("### What can be wrong")[2], re.MULTILINE)
    assert len(messages) > 20
    for message in messages:
        pattern = r"\{.{1,40}?\}".join(map(re.escape, message.split("…")))
        assert re.search(pattern, code), f"no error says '{message}'"
