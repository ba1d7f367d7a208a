from __future__ import annotations

import gzip
import hashlib
import socket
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from overtone.data import fetch
from overtone.data.records import Card
from overtone.errors import DataError

CONTENT = {"one.txt": b"one\n" * 50_000, "two.txt": b"two\n"}


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("OVERTONE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def card(tmp_path):
    """A data set whose downloads are files on this disk."""
    origin = tmp_path / "origin"
    origin.mkdir()
    for name, content in CONTENT.items():
        (origin / name).write_bytes(content)
    return Card(
        name="toy",
        title="Toy",
        licence="CC0-1.0",
        commercial=True,
        url="https://example.org/toy",
        citation="",
        files={name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()},
        downloads={name: (origin / name).as_uri() for name in CONTENT},
    )


def put(folder, packed=False):
    folder.mkdir(parents=True)
    for name, content in CONTENT.items():
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)


def test_catalogue_is_the_modules_with_a_source():
    known = fetch.catalogue()
    assert {"emotion", "goemotions", "overtone-emotions"} <= set(known)
    assert all(name == source.card.name for name, source in known.items())
    assert all(len(digest) == 64 for source in known.values() for digest in source.card.files.values())


def test_locate_looks_in_overtone_data_first(card, tmp_path):
    put(tmp_path / "cache" / "data" / "toy")
    assert fetch.locate(card) == tmp_path / "cache" / "data" / "toy"
    put(tmp_path / "data" / "toy", packed=True)
    assert fetch.locate(card) == tmp_path / "data" / "toy"
    fetch.verify(card, tmp_path / "data" / "toy")
    (tmp_path / "data" / "toy" / "two.txt.gz").unlink()
    assert fetch.locate(card) == tmp_path / "cache" / "data" / "toy"


def test_the_cache_honours_xdg(card, tmp_path, monkeypatch):
    monkeypatch.delenv("OVERTONE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert fetch.fetch(card) == tmp_path / "xdg" / "overtone" / "data" / "toy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetch.fetch(card) == tmp_path / ".cache" / "overtone" / "data" / "toy"


def test_locate_says_what_is_missing_and_what_to_do(card, tmp_path):
    put(tmp_path / "data" / "toy")
    (tmp_path / "data" / "toy" / "two.txt").unlink()
    with pytest.raises(DataError, match=r"(?s)'toy' is not here.*lacks two\.txt.*no such folder") as error:
        fetch.locate(card)
    assert "overtone data fetch toy" in str(error.value)
    assert "OVERTONE_DATA" in str(error.value)


def test_verify_names_the_file_and_both_hashes(card, tmp_path):
    put(tmp_path / "data" / "toy")
    (tmp_path / "data" / "toy" / "two.txt").write_bytes(b"tampered")
    with pytest.raises(DataError, match=r"two\.txt") as error:
        fetch.verify(card, tmp_path / "data" / "toy")
    assert card.files["two.txt"] in str(error.value)
    assert hashlib.sha256(b"tampered").hexdigest() in str(error.value)


def test_fetch_downloads_verifies_and_reports_progress(card, tmp_path):
    told = []
    folder = fetch.fetch(card, lambda *what: told.append(what))
    assert folder == tmp_path / "cache" / "data" / "toy"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == CONTENT
    assert told[-2] == ("one.txt", 200_000, 200_000)
    assert len(told) > 3
    assert fetch.locate(card) == folder


def test_fetch_gets_only_what_is_missing(card, tmp_path):
    folder = tmp_path / "cache" / "data" / "toy"
    put(folder)
    (folder / "two.txt").unlink()
    told = []
    fetch.fetch(card, lambda name, *_: told.append(name))
    assert set(told) == {"two.txt"}
    fetch.fetch(card, lambda name, *_: told.append("again"))
    assert "again" not in told


def test_fetch_of_a_changed_file_leaves_nothing(card, tmp_path):
    (tmp_path / "origin" / "two.txt").write_bytes(b"changed")
    with pytest.raises(DataError, match=r"(?s)two\.txt is not the file.*expected .*found"):
        fetch.fetch(card)
    assert [path.name for path in (tmp_path / "cache" / "data" / "toy").iterdir()] == ["one.txt"]


def test_fetch_without_network_leaves_nothing(card, tmp_path):
    with socket.socket() as taken:  # bound and not listening: a connection is refused
        taken.bind(("127.0.0.1", 0))
        offline = replace(
            card, downloads=dict.fromkeys(CONTENT, f"http://127.0.0.1:{taken.getsockname()[1]}/one.txt")
        )
        with pytest.raises(DataError, match=r"(?s)could not get http.*check the network.*OVERTONE_DATA"):
            fetch.fetch(offline)
    assert list((tmp_path / "cache" / "data" / "toy").iterdir()) == []


class Answers(BaseHTTPRequestHandler):
    """A server that knows nothing but /short, where it breaks off early."""

    def do_GET(self):
        if self.path != "/short":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 10)

    def log_message(self, *args):
        pass


@pytest.mark.parametrize(
    ("path", "reason"), [("short", "lost after 10 of 1,000 bytes"), ("gone", "404: Not Found")]
)
def test_fetch_from_a_server_that_fails_leaves_nothing(card, tmp_path, path, reason):
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/{path}"
        with pytest.raises(DataError, match=f"could not get {url}: .*{reason}"):
            fetch.fetch(replace(card, downloads=dict.fromkeys(CONTENT, url)))
        server.shutdown()
        thread.join()
    assert list((tmp_path / "cache" / "data" / "toy").iterdir()) == []


def test_fetch_where_no_download_is_known(card):
    with pytest.raises(
        DataError, match=r"(?s)no download is known for one\.txt, two\.txt.*https://example\.org/toy"
    ):
        fetch.fetch(replace(card, downloads={}))


def test_fetch_into_a_folder_that_cannot_be_made(card, tmp_path):
    (tmp_path / "cache").write_text("a file where the cache should be")
    with pytest.raises(DataError, match="could not get"):
        fetch.fetch(card)


def test_fingerprint_is_of_the_content_that_was_verified(card, tmp_path):
    put(tmp_path / "data" / "toy", packed=True)
    fetch.verify(card, tmp_path / "data" / "toy")
    assert fetch.fingerprint(card) == {
        "name": "toy",
        "licence": "CC0-1.0",
        "commercial": True,
        "url": "https://example.org/toy",
        "files": dict(card.files),
    }
