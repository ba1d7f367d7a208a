from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest

from overtone.models import weights


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
