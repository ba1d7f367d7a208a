from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# The models of these tests are so small that a second thread only waits for the first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
import pytest

from overtone import cli
from overtone.models import weights
from toys import sentences, write_encoder

# A busy machine is no failure, and no test asserts an absolute speed.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of these tests' own: nothing is left on the machine, and nothing is found there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERTONE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of public data sets; the test is skipped where it is not at hand."""
    root = os.environ.get("OVERTONE_DATA")
    if not root:
        pytest.skip("OVERTONE_DATA is not set")
    folder = Path(root)
    if not folder.is_dir():
        pytest.fail(f"OVERTONE_DATA names {folder}, which does not exist")
    return folder


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the embedded encoder; the test is skipped where its package is not installed."""
    try:
        return weights.resolve("minilm-l6")
    except weights.WeightsError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny random encoder of the kind asked for: bert, roberta or distilbert."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = write_encoder(tmp_path_factory.mktemp("weights") / kind, kind)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny(encoder_folder: Callable[[str], Path]) -> Path:
    """The folder of a tiny random BERT."""
    return encoder_folder("bert")


@pytest.fixture(scope="session")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 150 texts with one label each."""
    path = tmp_path_factory.mktemp("table") / "moods.jsonl"
    path.write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in sentences(150)))
    return path


@pytest.fixture(scope="session")
def table_multilabel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of 150 texts with one or two labels each."""
    path = tmp_path_factory.mktemp("table") / "mixed.jsonl"
    rows = sentences(150, multilabel=True)
    path.write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in rows))
    return path


@pytest.fixture(scope="session")
def tiny_distilbert(encoder_folder: Callable[[str], Path]) -> Path:
    """The folder of a tiny random DistilBERT."""
    return encoder_folder("distilbert")


@pytest.fixture(scope="session")
def tiny_llama(encoder_folder: Callable[[str], Path]) -> Path:
    """The folder of a tiny random decoder."""
    return encoder_folder("llama")


@pytest.fixture
def typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Type a command: its exit code, what it printed, and what it said beside."""

    def command(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["overtone", *map(str, words)])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return command
