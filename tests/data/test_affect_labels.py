"""The written table from GoEmotions' labels to eleven of affect, and the page that shows it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from overtone.data.sources import goemotions
from overtone.data.sources.goemotions import AFFECT, GoEmotionsSource

PAGE = Path(__file__).parents[2] / "docs" / "DATA.md"
ELEVEN = (
    *("joy", "love", "surprise", "sadness", "anger", "fear", "disgust"),
    *("calm", "excitement", "confusion", "neutral"),
)


def test_affect_maps_every_label_to_one_of_eleven():
    assert list(AFFECT) == list(goemotions.LABELS)
    assert sorted(set(AFFECT.values())) == sorted(ELEVEN)
    own = {label: AFFECT[label] for label in ("relief", "excitement", "confusion", "love", "neutral")}
    assert own == {
        "relief": "calm",
        "excitement": "excitement",
        "confusion": "confusion",
        "love": "love",
        "neutral": "neutral",
    }
    assert all(AFFECT[label] == label for label in ELEVEN if label in goemotions.LABELS)


def test_affect_is_a_grouping_of_the_comments(tmp_path):
    files = {"train.tsv": "well\t5,17,18\ta\n", "dev.tsv": "", "test.tsv": ""}
    files |= {"ekman_mapping.json": "{}", "sentiment_mapping.json": "{}"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    (row,) = GoEmotionsSource(grouping="affect").build().records(tmp_path)
    assert row.targets == {"emotion": ("love", "joy")}  # caring, joy, love


def table_on_the_page():
    lines = PAGE.read_text(encoding="utf-8").partition("| affect | from |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines.splitlines()[2:]]
    return {cell[0]: (cell[1].split(", "), [int(n.replace(",", "")) for n in cell[2:]]) for cell in cells}


def test_the_page_has_the_affect_table():
    page = {label: members for label, (members, _) in table_on_the_page().items()}
    assert tuple(page) == ELEVEN
    assert page == {name: sorted(label for label in AFFECT if AFFECT[label] == name) for name in ELEVEN}


def test_affect_differs_from_ekman_in_its_own_four_labels_alone(data_root):
    ekman = goemotions.groupings(data_root / "goemotions")["ekman"]
    moved = {label for label in AFFECT if AFFECT[label] != ekman[label]}
    assert moved == {"caring", "love", "relief", "excitement", "confusion"}


def test_affect_has_the_counts_of_the_page(data_root):
    rows = list(GoEmotionsSource(grouping="affect").build().records(data_root / "goemotions"))
    counts = Counter((label, row.split) for row in rows for label in row.targets["emotion"])
    assert {label: numbers for label, (_, numbers) in table_on_the_page().items()} == {
        label: [counts[label, split] for split in ("train", "validation", "test")] for label in ELEVEN
    }
