from __future__ import annotations

import gzip
import hashlib

import pytest

from overtone.data.files import LINE_LIMIT, digest, find, lines, need
from overtone.errors import DataError


def test_lines_end_at_line_feeds_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("one\r\ntwo\u2028still two\x85\n\nlast".encode())
    assert list(lines(path)) == [(1, "one"), (2, "two\u2028still two\x85"), (3, ""), (4, "last")]


def test_a_byte_order_mark_is_not_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbftext\nb\xff\n")
    rows = lines(path)
    assert next(rows) == (1, "text")
    with pytest.raises(DataError, match=r"line 2: not UTF-8 at byte 9 of the file \(0xff\)"):
        next(rows)


def test_plain_and_gzipped_are_one_file(tmp_path):
    content = b"a\nb\n"
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(content))
    (tmp_path / "y.txt").write_bytes(content)
    assert find(tmp_path, "x.txt") == tmp_path / "x.txt.gz"
    assert find(tmp_path, "z.txt") is None
    assert list(lines(need(tmp_path, "x.txt"))) == list(lines(need(tmp_path, "y.txt")))
    assert digest(tmp_path / "x.txt.gz") == digest(tmp_path / "y.txt") == hashlib.sha256(content).hexdigest()
    with pytest.raises(DataError, match="is missing"):
        need(tmp_path, "z.txt")


def test_invalid_utf8_names_line_and_byte(tmp_path):
    path = tmp_path / "latin.txt"
    path.write_bytes(b"fine\ncaf\xe9;joy\n")
    with pytest.raises(
        DataError, match=r"latin\.txt, line 2: not UTF-8 at byte 8 of the file \(0xe9\)"
    ) as error:
        list(lines(path))
    assert "iconv" in str(error.value)


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n"])
def test_the_line_limit_is_the_last_length_that_passes(tmp_path, ending):
    path = tmp_path / "long.txt"
    path.write_bytes(b"short\n" + b"x" * LINE_LIMIT + ending)
    assert [len(line) for _, line in lines(path)] == [5, LINE_LIMIT]
    path.write_bytes(b"short\n" + b"x" * (LINE_LIMIT + 1) + ending)
    with pytest.raises(DataError, match=r"line 2: longer than the limit of 1,048,576 bytes"):
        list(lines(path))


def test_a_ten_megabyte_line_is_refused(tmp_path):
    path = tmp_path / "long.txt"
    path.write_bytes(b"x" * 10_000_000)
    with pytest.raises(DataError, match=r"line 1: longer than the limit of 1,048,576 bytes"):
        list(lines(path))


def test_a_gzip_file_cut_short_is_an_error(tmp_path):
    path = tmp_path / "cut.txt.gz"
    path.write_bytes(gzip.compress(b"some text\n" * 1000)[:-20])
    with pytest.raises(DataError, match="cannot be read"):
        list(lines(path))
    with pytest.raises(DataError, match="cannot be read"):
        digest(path)
    path.write_bytes(b"not gzip at all")
    with pytest.raises(DataError, match="cannot be read"):
        digest(path)
