"""The catalogue of data sets: where their files are, whether they are the right ones, how to get them."""

from __future__ import annotations

import importlib
import os
import pkgutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

from overtone.cache import cache_folder
from overtone.data import sources
from overtone.data.files import digest, find, need
from overtone.data.records import Card, Source
from overtone.errors import DataError

Progress = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes at hand, and the bytes there will be where the server says."""

TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""

SHIPPED = Path(__file__).parent / "shipped"
"""The folder of what the package itself carries."""


@cache
def catalogue() -> dict[str, Source]:
    """The data sets that Overtone knows, by name: every module of ``data/sources`` that has a ``SOURCE``."""
    modules = (
        importlib.import_module(f"{sources.__name__}.{m.name}")
        for m in pkgutil.iter_modules(sources.__path__)
    )
    found: list[Source] = [module.SOURCE for module in modules if hasattr(module, "SOURCE")]
    return {source.card.name: source for source in sorted(found, key=lambda source: source.card.name)}


def locate(card: Card) -> Path:
    """The first folder that has all files of the data set, each plain or gzipped.

    Looked in: for what the package ships, the package; else ``$OVERTONE_DATA/<folder>``, then the cache; the
    folder has the data set's name, unless its card says else.

    Raises:
        DataError: no folder has them all.
    """
    folder = _at_hand(card)
    if folder is not None:
        return folder
    looked = "; ".join(f"{folder} lacks {_missing(card, folder)}" for folder in _folders(card))
    get = f"`overtone data fetch {card.name}`" if card.downloads else f"get it from {card.url}"
    raise DataError(
        f"the data set '{card.name}' is not here: {looked}",
        hint="install overtone again"
        if card.shipped
        else f"{get}, or set OVERTONE_DATA to the folder that holds {card.folder or card.name}/",
    )


def verify(card: Card, folder: Path) -> None:
    """Check that each file is what the card says.

    Raises:
        DataError: a file is missing, or its content has another SHA-256.
    """
    for name, expected in card.files.items():
        path = need(folder, name)
        found = digest(path)
        if found != expected:
            raise DataError(
                f"{path} is not the file that the card of '{card.name}' names:\n"
                f"  SHA-256 expected {expected}\n  SHA-256 found    {found}",
                hint=f"delete it, then `overtone data fetch {card.name}`",
            )


def fetch(card: Card, progress: Progress | None = None) -> Path:
    """Download what is not yet in the cache; a file is there whole and verified, or not at all.

    Returns:
        The folder with the files; where they are complete already (the package, ``OVERTONE_DATA``), that one.

    Raises:
        DataError: no download is known, no network, or the content is not what the card says.
    """
    complete = _at_hand(card)
    if complete is not None:
        verify(card, complete)
        return complete
    unknown = [name for name in card.files if name not in card.downloads]
    if unknown:
        raise DataError(
            f"no download is known for {', '.join(unknown)} of '{card.name}'",
            hint=f"get it from {card.url} and put it in {_cached(card)}",
        )
    folder = _cached(card)
    for name, expected in card.files.items():
        at_hand = find(folder, name)
        if at_hand is None or digest(at_hand) != expected:
            _download(card, name, folder / name, progress)
    return folder


def fingerprint(card: Card) -> dict[str, Any]:
    """What a manifest keeps of a data set that was verified: name, licence, source, SHA-256 of each file."""
    return {
        "name": card.name,
        "licence": card.licence,
        "commercial": card.commercial,
        "url": card.url,
        "files": dict(card.files),
    }


def _cached(card: Card) -> Path:
    return cache_folder("data") / (card.folder or card.name)


def _folders(card: Card) -> list[Path]:
    if card.shipped:
        return [SHIPPED]
    own = os.environ.get("OVERTONE_DATA")
    return ([Path(own) / (card.folder or card.name)] if own else []) + [_cached(card)]


def _at_hand(card: Card) -> Path | None:
    for folder in _folders(card):
        if all(find(folder, name) for name in card.files):
            return folder
    return None


def _missing(card: Card, folder: Path) -> str:
    if not folder.is_dir():
        return "everything (no such folder)"
    return ", ".join(name for name in card.files if find(folder, name) is None)


def _download(card: Card, name: str, path: Path, progress: Progress | None) -> None:
    url = card.downloads[name]
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{name}.")
        temporary = Path(part)
        with os.fdopen(handle, "wb") as file, urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
            while block := answer.read(1 << 16):
                file.write(block)
                if progress:
                    progress(name, file.tell(), total)
            if total is not None and file.tell() < total:  # urllib takes a lost connection for the end
                raise OSError(f"the connection was lost after {file.tell():,} of {total:,} bytes")
        found = digest(temporary)
        if found != card.files[name]:
            raise DataError(
                f"{url} is not the file that the card of '{card.name}' names:\n"
                f"  SHA-256 expected {card.files[name]}\n  SHA-256 found    {found}",
                hint="try again; if it stays so, the source has changed: "
                f"put the file of the right hash in {path.parent}",
            )
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, HTTPException) as error:  # URLError and time-outs are OSError
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise DataError(
            f"could not get {url}: {error}",
            hint="check the network, or set OVERTONE_DATA to a folder that holds the files",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
