from __future__ import annotations

from overtone.cache import cache_folder


def test_where_things_are_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OVERTONE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    for kind in ("data", "weights"):
        assert cache_folder(kind) == tmp_path / "own" / kind
    monkeypatch.delenv("OVERTONE_CACHE")
    assert cache_folder("weights") == tmp_path / "xdg" / "overtone" / "weights"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder("weights") == tmp_path / ".cache" / "overtone" / "weights"
