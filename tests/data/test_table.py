from __future__ import annotations

import gzip
import json
import sys

import pytest
from pydantic import ValidationError

from overtone.data.rows import TEXT_LIMIT
from overtone.data.sources.table import TableSource
from overtone.errors import DataError, MissingExtraError

ROWS = [
    {"text": 'she said "hi", then\tleft', "label": "joy"},
    {"text": "two\nlines; ünï 😀", "label": "fear"},
]


def read(path, **settings):
    return list(TableSource(path=path, **settings).build("emotion").records(path.parent))


def written(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet(path, rows):
    """Write rows as Parquet; the test is skipped without pyarrow, which is an optional dependency."""
    pyarrow = pytest.importorskip("pyarrow", reason="the extra 'parquet' is not installed")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def seen(rows):
    return [(row.text, row.targets["emotion"]) for row in rows]


def test_csv_with_quotes_commas_and_line_breaks(tmp_path):
    path = written(
        tmp_path,
        "mine.csv",
        'text,label\r\n"she said ""hi"", then\tleft",joy\r\n\r\n"two\nlines; ünï 😀",fear\r\n',
    )
    rows = read(path)
    assert seen(rows) == [(row["text"], row["label"]) for row in ROWS]
    assert [row.id for row in rows] == ["mine/000001", "mine/000002"]
    assert {(row.source, row.split) for row in rows} == {("mine", None)}


def test_every_format_gives_the_same_rows(tmp_path):
    paths = [
        written(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in ROWS)),
        written(tmp_path, "b.jsonl.gz", gzip.compress("\n".join(json.dumps(row) for row in ROWS).encode())),
    ]
    assert all(seen(read(path)) == [(row["text"], row["label"]) for row in ROWS] for path in paths)


def test_tsv_has_no_quoting(tmp_path):
    path = written(tmp_path, "a.tsv", '\ufefftext\tlabel\n"open, never closed\tjoy\n')
    assert seen(read(path)) == [('"open, never closed', "joy")]


def test_columns_are_named_in_the_recipe(tmp_path):
    path = written(tmp_path, "data.txt", "n,says,feels,part\n7,oh no,sadness,dev\n8,wow,joy,Train\n")
    rows = read(path, format="csv", text="says", label="feels", split="part", id="n")
    assert [(row.id, row.split) for row in rows] == [("data/7", "validation"), ("data/8", "train")]


def test_several_labels(tmp_path):
    path = written(tmp_path, "a.csv", "text,label\nx,joy; love ;joy\ny,fear\n")
    assert seen(read(path, separator=";")) == [("x", ("joy", "love")), ("y", ("fear",))]
    path = written(
        tmp_path, "b.jsonl", '{"text": "x", "label": ["joy", "love"]}\n{"text": "y", "label": 3}\n'
    )
    assert seen(read(path)) == [("x", ("joy", "love")), ("y", "3")]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file(tmp_path, name, content):
    with pytest.raises(DataError, match=rf"{name} holds no rows"):
        read(written(tmp_path, name, content))


def test_a_header_alone(tmp_path):
    with pytest.raises(DataError, match="holds no rows"):
        read(written(tmp_path, "a.csv", "text,label\n"))


def test_a_missing_column_names_those_found(tmp_path):
    path = written(tmp_path, "a.csv", "Text,labels\nx,joy\n")
    with pytest.raises(
        DataError, match=r"(?s)no column 'label'.*it has 'Text', 'labels'.*did you mean 'labels'"
    ):
        read(path, text="Text")
    with pytest.raises(
        DataError, match=r"(?s)no column 'text' \(`text` in the recipe\).*did you mean 'Text'"
    ):
        read(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\nfine,joy\ncaf\xe9,joy\n", r"a\.csv, line 3: not UTF-8 at byte 23"),
        ("a.jsonl", '{"text": "x", "label": "joy"}\n{"text": \n', r"a\.jsonl, line 2: not JSON"),
        ("a.jsonl", '["x", "joy"]\n', r"line 1: not a JSON object"),
        ("a.jsonl", "[" * 100_000 + "\n", r"a\.jsonl, line 1: not JSON"),
        ("a.jsonl", '{"text": 5, "label": "joy"}\n', r"line 1: 'text' is int, not text"),
        ("a.jsonl", '{"text": "x", "label": true}\n', r"line 1: 'label' is bool, not text"),
        ("a.jsonl", '{"text": "x", "label": []}\n', r"line 1: 'label' is empty"),
        ("a.jsonl", '{"text": "\\ud800", "label": "joy"}\n', r"line 1: 'text' is not Unicode text"),
        ("a.jsonl", '{"text": "x", "label": "a"}\n{"text": "y"}\n', r"line 2: 'label' is empty"),
        ("a.csv", "text,label\nx,joy\ny,\n", r"line 3: 'label' is empty"),
        ("a.csv", "text,label\n ,joy\n", r"line 2: 'text' is empty"),
        ("a.csv", "text,label\nx,joy,more\n", r"line 2: 3 cells, but the header names 2"),
        ("a.csv", 'text,label\nx,joy\n"open,joy\n', r"line 3: unexpected end of data"),
        ("a.csv", "text,text,label\nx,y,joy\n", r"two columns named 'text'"),
        (
            "a.csv",
            b"text,label\n" + b"x" * 10_000_000 + b",joy\n",
            r"line 2: longer than the limit of 1,048,576",
        ),
        ("a.data", "text,label\n", r"does not tell the format"),
    ],
)
def test_bad_files_name_the_place(tmp_path, name, content, message):
    with pytest.raises(DataError, match=message):
        read(written(tmp_path, name, content))


def test_a_text_over_many_lines_has_a_limit_too(tmp_path):
    long = "word and line\n" * (TEXT_LIMIT // 14)
    path = written(tmp_path, "a.csv", f'text,label\n"{long}",joy\n')
    assert len(read(path)[0].text) == len(long)
    with pytest.raises(DataError, match="field larger than field limit"):
        read(written(tmp_path, "a.csv", f'text,label\n"{long * 2}",joy\n'))


def test_parquet(tmp_path):
    assert seen(read(parquet(tmp_path / "a.parquet", ROWS))) == [(row["text"], row["label"]) for row in ROWS]
    several = parquet(tmp_path / "b.parquet", [{"text": "x", "label": ["joy", "love"]}])
    assert seen(read(several)) == [("x", ("joy", "love"))]
    parquet(tmp_path / "a.parquet", [{"text": "x" * (TEXT_LIMIT + 1), "label": "joy"}])
    with pytest.raises(DataError, match=r"row 1: 'text' is longer than the limit of 1,048,576 bytes"):
        read(tmp_path / "a.parquet")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read(written(tmp_path, "a.parquet", "not parquet"))


def test_repeated_ids(tmp_path):
    path = written(tmp_path, "a.csv", "id,text,label\n1,x,joy\n2,y,joy\n1,z,joy\n")
    with pytest.raises(DataError, match=r"line 4: the id '1' stands in .*line 2 too"):
        read(path, id="id")


def test_an_unknown_split(tmp_path):
    path = written(tmp_path, "a.csv", "text,label,part\nx,joy,trian\n")
    with pytest.raises(DataError, match=r"(?s)'trian' is not a split.*did you mean 'train'"):
        read(path, split="part")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv is not a file"):
        TableSource(path=tmp_path / "gone.csv").build("emotion")


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    path = written(tmp_path, "a.parquet", "never opened")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"overtone\[parquet\]"):
        read(path)


def test_numbers_of_several_columns(tmp_path):
    path = written(tmp_path, "a.csv", "text,haste,warmth\nx, 3.5 ,-1\ny,1e-2,4\n")
    assert seen(read(path, numbers=["warmth", "haste"])) == [("x", (-1.0, 3.5)), ("y", (4.0, 0.01))]
    path = written(tmp_path, "b.jsonl", '{"text": "x", "warmth": 2}\n{"text": "y", "warmth": 0.25}\n')
    assert seen(read(path, numbers=["warmth"])) == [("x", (2.0,)), ("y", (0.25,))]
    path = parquet(tmp_path / "c.parquet", [{"text": "x", "warmth": 1.5}])
    assert seen(read(path, numbers=["warmth"])) == [("x", (1.5,))]


@pytest.mark.parametrize("cell", ["", "high", "3,5", "nan", "inf", "-Infinity", "9" * 400])
def test_a_cell_that_is_not_a_number(tmp_path, cell):
    path = written(tmp_path, "a.csv", f'text,warmth\nx,1\ny,"{cell}"\n')
    with pytest.raises(DataError, match=r"a\.csv, line 3: 'warmth' holds .*, which is not a number"):
        read(path, numbers=["warmth"])


@pytest.mark.parametrize("cell", ["null", "true", "NaN", "Infinity", "[1]", "{}", '"high"', "1" + "0" * 400])
def test_a_json_value_that_is_not_a_number(tmp_path, cell):
    path = written(tmp_path, "a.jsonl", f'{{"text": "x", "warmth": {cell}}}\n')
    with pytest.raises(DataError, match=r"line 1: 'warmth' holds .*, which is not a number"):
        read(path, numbers=["warmth"])


def test_a_long_text_that_is_not_a_number_is_not_shown_whole(tmp_path):
    path = written(tmp_path, "a.csv", f"text,warmth\nx,{'word ' * 1000}\n")
    with pytest.raises(DataError) as caught:
        read(path, numbers=["warmth"])
    assert len(caught.value.what) < 200 + len(str(path))


def test_a_missing_column_of_numbers(tmp_path):
    path = written(tmp_path, "a.csv", "text,warmth\nx,1\n")
    with pytest.raises(DataError, match=r"(?s)no column 'hast' \(`numbers` in the recipe\)"):
        read(path, numbers=["warmth", "hast"])


def test_labels_or_numbers():
    numbers = TableSource(path="a.csv", numbers=["warmth"])
    assert numbers.label is None
    assert TableSource.model_validate(numbers.model_dump()) == numbers  # as a resolved recipe is read again
    assert TableSource(path="a.csv").label == "label"
    assert TableSource(path="a.csv", numbers=[]).label == "label"
    for wrong in ({"label": "label"}, {"label": "mood"}, {"separator": "|"}):
        with pytest.raises(ValidationError, match="takes the place of"):
            TableSource(path="a.csv", numbers=["warmth"], **wrong)
    with pytest.raises(ValidationError, match="name the column with the label"):
        TableSource(path="a.csv", label=None)


def test_what_was_said_before(tmp_path):
    path = written(tmp_path, "a.csv", "text,label,before\nx,joy,hello you\ny,fear,\nz,joy, \n")
    assert [row.context for row in read(path)] == [None, None, None]
    assert [row.context for row in read(path, context="before")] == ["hello you", None, None]
    path = written(
        tmp_path,
        "b.jsonl",
        '{"text": "x", "label": "joy", "before": null}\n{"text": "y", "label": "joy"}\n'
        '{"text": "z", "label": "joy", "before": 5}\n',
    )
    with pytest.raises(DataError, match="line 3: 'before' is int, not text"):
        read(path, context="before")
    with pytest.raises(DataError, match=r"no column 'befor' \(`context` in the recipe\)"):
        read(path, context="befor")
