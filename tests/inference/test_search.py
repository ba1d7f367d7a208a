"""An index of a folder: asked, brought up to date, stopped in the middle, damaged, written by two."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overtone.data.corpus import load
from overtone.data.fetch import catalogue, locate
from overtone.data.passages import INDEX, CutConfig
from overtone.data.text import words
from overtone.errors import DataError, RunError, UsageError
from overtone.evaluation.benchmarks.retrieval import score
from overtone.inference import index_store as store
from overtone.inference.indexing import FusionConfig, IndexConfig
from overtone.inference.search import Index, fuse
from overtone.inference.vectors import ApproximateConfig, exact

TEXTS = {
    "harbour.md": "# Ferry\n\nThe ferry runs twice a day.\n\n# Winter\n\nIn winter the harbour is closed.\n",
    "town/bread.txt": "Bread is baked at night.\n\nThe baker sleeps at noon.\n",
    "town/people.jsonl": '{"title": "Baker", "text": "She bakes bread."}\n{"text": "The captain steers."}\n',
}


class Toy:
    """Words hashed into 64 numbers: texts that share words are near. It remembers what it was asked."""

    dimensions = 64

    def __init__(self, name="toy"):
        self.name = name
        self.passages: list[str] = []

    def encode(self, texts, *, query=False, told=None):
        if not query:
            self.passages += texts
        rows = np.full((len(texts), self.dimensions), 1e-3, dtype=np.float32)
        for row, text in enumerate(texts):
            for word, count in Counter(words(text)).items():
                rows[row, zlib.crc32(word.encode()) % self.dimensions] += count
        if told:
            told(len(texts))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def notes(tmp_path):
    for name, text in TEXTS.items():
        path = tmp_path / "notes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "notes"


SMALL = IndexConfig(cut=CutConfig(words=10, overlap=0), embedder=None)


def made(notes, embedder=None, config=SMALL, **options):
    return Index.build(notes, notes.parent / "index", config, embedder, **options)


def content(folder):
    """Every file of an index by its bytes, whatever its generation is called."""
    generation = store.manifest(folder).generation
    return {
        path.relative_to(folder / generation): path.read_bytes()
        for path in (folder / generation).rglob("*")
        if path.is_file()
    }


def test_every_mode_finds_the_passage(notes):
    index, what = made(notes, Toy())
    assert (what.passages, what.files, what.read, what.removed, what.encoded) == (5, 3, 3, 0, 5)
    assert index.modes == ("hybrid", "dense", "bm25")
    for mode in index.modes:
        first, *others = index.query("when does the ferry run?", 3, mode)
        assert (first.passage.file, first.passage.line, first.passage.title) == ("harbour.md", 3, "Ferry")
        assert first.rank == 1
        assert all(first.score >= other.score for other in others)
    assert index.query("ferry")[0].places == {"bm25": 1, "dense": 1}
    assert index.query("ferry", mode="bm25")[0].places == {"bm25": 1}


def test_titles_are_searched(notes):
    index, _ = made(notes)
    assert [hit.passage.text for hit in index.query("Winter", mode="bm25")] == [
        "In winter the harbour is closed."
    ]


def test_it_is_the_same_when_opened_again(notes):
    index, _ = made(notes, Toy())
    opened = Index.open(notes.parent / "index", Toy())
    for mode in index.modes:
        assert opened.query("bread at night", 5, mode) == index.query("bread at night", 5, mode)


def test_dense_scores_are_cosines(notes):
    index, _ = made(notes, Toy())
    vector = Toy().encode(["bread at night"])[0]
    for hit in index.query("bread at night", 9, "dense"):
        assert hit.score == pytest.approx(float(Toy().encode([hit.passage.content])[0] @ vector), abs=1e-6)


def test_nothing_is_done_twice(notes):
    embedder = Toy()
    made(notes, embedder)
    before = content(notes.parent / "index")
    _, what = made(notes, embedder)
    assert (what.read, what.removed, what.encoded, len(embedder.passages)) == (0, 0, 0, 5)
    assert content(notes.parent / "index") == before

    (notes / "town/bread.txt").write_text(TEXTS["town/bread.txt"] + "\nA third paragraph.\n")
    (notes / "harbour.md").unlink()
    (notes / "new.txt").write_text("A new one.\n")
    index, what = made(notes, embedder)
    assert (what.read, what.removed, what.passages) == (2, 1, 5)
    assert embedder.passages[5:] == ["A new one.", "A third paragraph."]
    assert what.encoded == 2
    assert index.query("ferry", mode="bm25") == ()
    Index.build(notes, notes.parent / "fresh", SMALL, Toy())
    assert content(notes.parent / "index") == content(notes.parent / "fresh")


@pytest.mark.parametrize(
    "config",
    [
        SMALL.model_copy(update={"cut": CutConfig(words=11, overlap=0)}),
        SMALL.model_copy(update={"approximate": ApproximateConfig(above=3)}),
    ],
)
def test_another_setting_is_not_taken_for_the_same(notes, config):
    made(notes, Toy())
    made(notes, Toy(), config)
    Index.build(notes, notes.parent / "fresh", config, Toy())
    assert content(notes.parent / "index") == content(notes.parent / "fresh")
    assert Index.open(notes.parent / "index", Toy()).config == config


def test_another_embedder_encodes_all_again(notes):
    made(notes, Toy())
    other = Toy("other")
    _, what = made(notes, other)
    assert what.encoded == len(other.passages) == 5
    with pytest.raises(RunError, match=r"made with 'other' \(64 dimensions\), and is asked with 'toy'"):
        Index.open(notes.parent / "index", Toy())
    opened = Index.open(notes.parent / "index")
    assert opened.query("ferry", mode="bm25")
    with pytest.raises(UsageError, match="the vectors were made with 'other'"):
        opened.query("ferry")


def test_an_index_of_words_alone(notes):
    index, what = made(notes)
    assert (index.modes, what.encoded) == (("bm25",), 0)
    assert index.query("ferry")[0].passage.file == "harbour.md"
    with pytest.raises(UsageError, match="no vectors, so it has no mode 'dense'"):
        index.query("ferry", mode="dense")


@pytest.mark.parametrize(
    ("question", "top", "mode", "message"),
    [
        (" ", 5, None, "question is empty"),
        ("a", 0, None, "0 passages are wanted"),
        ("a", 5, "bm52", "(?s)no mode 'bm52'.*mean 'bm25'"),
    ],
)
def test_what_cannot_be_asked(notes, question, top, mode, message):
    index, _ = made(notes)
    with pytest.raises(UsageError, match=message):
        index.query(question, top, mode)


def test_a_folder_without_words(tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")
    with pytest.raises(DataError, match="hold no words"):
        Index.build(tmp_path, tmp_path / "index", SMALL)
    assert not (tmp_path / "index" / INDEX).exists()


def test_the_index_may_lie_in_the_folder(notes):
    for _ in range(2):
        _, what = Index.build(notes, notes / "index", SMALL)
        assert what.passages == 5


def test_above_a_size_the_cells_are_asked(notes):
    config = SMALL.model_copy(update={"approximate": ApproximateConfig(above=4, probes=9)})
    index, _ = made(notes, Toy(), config)
    assert index.parts.approximate is not None
    whole, _ = Index.build(notes, notes.parent / "whole", SMALL, Toy())
    assert whole.parts.approximate is None
    asked = [(hit.passage.id, hit.score) for hit in index.query("bread", mode="dense")]
    assert asked == [(hit.passage.id, hit.score) for hit in whole.query("bread", mode="dense")]


def test_fusion_by_hand():
    found = fuse([np.array([4, 2, 9]), np.array([2, 7])], k=60)
    assert found.rows.tolist() == [2, 4, 7, 9]
    np.testing.assert_allclose(found.scores, [1 / 62 + 1 / 61, 1 / 61, 1 / 62, 1 / 63])
    assert fuse([np.array([5, 1]), np.array([1, 5])]).rows.tolist() == [1, 5]  # a tie
    assert fuse([np.zeros(0, dtype=np.int64)]).rows.tolist() == []


rankings = st.lists(st.lists(st.integers(0, 20), unique=True, max_size=10).map(np.array), max_size=3)


@given(rankings.map(lambda many: [each.astype(np.int64) for each in many]), st.integers(1, 100))
def test_fusion_holds_each_row_once_and_falls(many, k):
    found = fuse(many, k)
    assert sorted(found.rows.tolist()) == sorted({row for each in many for row in each.tolist()})
    assert (np.diff(found.scores) <= 0).all()
    if len(many) == 1:
        assert found.rows.tolist() == many[0].tolist()


def test_only_so_many_places_are_fused(notes):
    config = SMALL.model_copy(update={"fusion": FusionConfig(depth=1)})
    index, _ = made(notes, Toy(), config)
    assert len(index.query("bread at night ferry", 1)) == 1
    assert all(rank <= 1 for hit in index.query("bread at night ferry", 1) for rank in hit.places.values())


class Stopped(Toy):
    """An embedder that is killed."""

    def encode(self, texts, *, query=False, told=None):
        raise KeyboardInterrupt


def test_what_is_stopped_leaves_the_old_index(notes):
    made(notes, Toy())
    before = content(notes.parent / "index")
    (notes / "new.txt").write_text("A new one.\n")
    with pytest.raises(KeyboardInterrupt):
        made(notes, Stopped())
    assert content(notes.parent / "index") == before
    assert {path.name for path in (notes.parent / "index").iterdir()} == {".lock", INDEX, "parts-000001"}
    (notes.parent / "index" / ".parts-killed").mkdir()  # as kill -9 leaves it
    (notes.parent / "index" / "parts-000002").mkdir()
    index, _ = made(notes, Toy())
    assert index.query("new", mode="bm25")
    assert {path.name for path in (notes.parent / "index").iterdir()} == {".lock", INDEX, "parts-000002"}


def test_a_full_disk_leaves_the_old_index(notes, monkeypatch):
    made(notes)
    (notes / "new.txt").write_text("A new one.\n")
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_passages", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
        with pytest.raises(RunError, match=r"could not write .*index: No space left"):
            made(notes)
    assert Index.open(notes.parent / "index").query("ferry")


@pytest.mark.parametrize("part", ["passages.jsonl", "vectors.npy", "bm25/data.csc.index.npy"])
@pytest.mark.parametrize("harm", ["cut", "flipped", "gone"])
def test_a_damaged_index_is_refused_and_made_again(notes, part, harm):
    made(notes, Toy())
    folder = notes.parent / "index"
    path = folder / "parts-000001" / part
    raw = bytearray(path.read_bytes())
    if harm == "gone":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(raw[:-1])
    else:
        raw[-2] ^= 1
        path.write_bytes(raw)
    with pytest.raises(RunError, match=rf"{part}.* is (damaged|missing)"):
        Index.open(folder, Toy())
    index, what = made(notes, Toy())
    assert (what.read, what.encoded) == (3, 5)
    assert index.query("ferry")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ('{"format": 99}', "is an index of format 99, not 1"),
        ('{"format": 1}', "is damaged"),
        ("[]", "is damaged"),
    ],
)
def test_a_broken_manifest_is_named(notes, text, message):
    made(notes)
    (notes.parent / "index" / INDEX).write_text(text)
    with pytest.raises(RunError, match=message):
        Index.open(notes.parent / "index")
    made(notes)
    assert Index.open(notes.parent / "index").query("ferry")


def test_what_is_no_index_is_left_alone(notes):
    with pytest.raises(RunError, match="is not an index"):
        Index.open(notes)
    with pytest.raises(RunError, match="they are not an index: nothing was written"):
        Index.build(notes, notes, SMALL)
    assert sorted(path.name for path in notes.iterdir()) == ["harbour.md", "town"]


HOLDER = """
import sys
from pathlib import Path
from filelock import FileLock
with FileLock(Path(sys.argv[1]) / ".lock"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_write_one_index(notes):
    made(notes)
    folder = notes.parent / "index"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="another process writes"):
            made(notes)
        assert Index.open(folder).query("ferry")  # asking needs no lock
        holder.communicate("")
    made(notes)


def test_who_reads_while_it_is_replaced_gets_the_new_one(notes, monkeypatch):
    made(notes)
    folder = notes.parent / "index"
    real, calls = store.digest, []

    def replaced(path):
        if not calls:  # between reading the manifest and its parts, the index is replaced
            calls.append(path)
            monkeypatch.setattr(store, "digest", real)
            (notes / "new.txt").write_text("A new one.\n")
            made(notes)
        return real(path)

    monkeypatch.setattr(store, "digest", replaced)
    assert Index.open(folder).query("new", mode="bm25")


@pytest.mark.parametrize(
    ("vectors", "message"),
    [(np.zeros((5, 64)), "whose length is not 1"), (np.ones((5, 3)), r"of shape \(5, 3\), not \(5, 64\)")],
)
def test_an_embedder_that_breaks_its_word(notes, vectors, message):
    embedder = Toy()
    embedder.encode = lambda texts, **_: vectors
    with pytest.raises(RunError, match=message):
        made(notes, embedder)


def test_progress_is_told(notes):
    told = []
    made(notes, Toy(), told=lambda *what: told.append(what))
    assert told[-1] == ("encoding", 5, 5)
    assert ("reading", 3, 3) in told
    assert all(done <= total for _, done, total in told)


def test_the_index_can_be_moved(notes):
    made(notes)
    shutil.move(notes.parent / "index", notes.parent / "elsewhere")
    shutil.rmtree(notes)
    assert Index.open(notes.parent / "elsewhere").query("ferry")


def test_no_path_of_this_machine_is_kept(notes):
    made(notes)
    assert str(notes.parent) not in (notes.parent / "index" / INDEX).read_text()
    assert set(json.loads((notes.parent / "index" / INDEX).read_text())["files"]) == set(TEXTS)


def test_a_real_collection(data_root, monkeypatch, tmp_path):
    """On 20 real questions: what the index finds is what brute force finds, and most answers are among it."""
    monkeypatch.setenv("OVERTONE_DATA", str(data_root))
    folder = locate(catalogue()["nq_beir_mini"].card)
    embedder = Toy()
    index, what = Index.build(folder, tmp_path / "index", IndexConfig(embedder=None), embedder)
    assert what.passages == 589
    collection = load(folder)
    texts = {each.id: each.content for each in collection.passages}
    found = {}
    for query in collection.asked("test"):
        hits = index.query(query.text, 10, "dense")
        found[query.id] = [hit.passage.id for hit in index.query(query.text, 10, "bm25")]
        vectors = Toy().encode([texts[id_] for id_ in sorted(texts)])
        rows = exact(vectors, Toy().encode([query.text])[0], 10).rows
        assert [hit.passage.id for hit in hits] == [sorted(texts)[row] for row in rows]
    assert score(found, collection.judgements["test"], (10,)).of("recall_10").mean() > 0.8


def test_minilm_finds_without_a_shared_word(minilm, notes):
    index, _ = made(notes, config=IndexConfig(cut=SMALL.cut))
    assert index.query("boat timetable", 1, "dense")[0].passage.file == "harbour.md"
    assert Index.open(notes.parent / "index").query("who makes loaves?", 1)[0].passage.title == "Baker"
