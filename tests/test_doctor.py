from __future__ import annotations

import io
import json
import os
import time

import pytest
from rich.console import Console

from overtone import doctor
from overtone.data.fetch import catalogue
from overtone.errors import WeightsError
from overtone.models import weights


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=100)


@pytest.fixture
def no_training(monkeypatch):
    def none():
        raise WeightsError("not at hand", hint="fetch them")

    monkeypatch.setattr(doctor, "_smoke", none)


def test_a_short_training_in_both_precisions(console, monkeypatch, minilm, capsys):
    monkeypatch.setattr(doctor, "SECONDS", 0.1)
    begun = time.perf_counter()
    found = doctor.examine(console)
    assert time.perf_counter() - begun < 60
    assert set(found["training"]) == {"fp32", "bf16"}
    assert all("rows a second" in line for line in found["training"].values())
    assert capsys.readouterr().out == ""  # the training's own bar goes to standard error
    assert json.loads(json.dumps(found)) == found


def test_it_says_what_is_at_hand(console, no_training):
    found = doctor.examine(console)
    assert set(found["data"]) == set(catalogue())
    assert set(found["weights"]) == set(weights.CATALOGUE)
    assert found["training"].startswith("not tried: not at hand")
    assert found["memory"].endswith("GiB free")
    assert found["load"] >= 0


def test_a_system_that_does_not_count_free_pages(monkeypatch):
    known = os.sysconf

    def sysconf(name):
        if name == "SC_AVPHYS_PAGES":
            raise ValueError("unrecognized configuration name")
        return known(name)

    monkeypatch.setattr(os, "sysconf", sysconf)
    assert doctor._memory().endswith("GiB")


def test_a_system_that_counts_nothing(console, monkeypatch, no_training):
    monkeypatch.delattr(os, "sysconf")
    monkeypatch.delattr(os, "getloadavg")
    assert doctor._memory() == "unknown"
    assert doctor._load() == "unknown"


def test_a_load_that_cannot_be_had(monkeypatch):
    def fail():
        raise OSError

    monkeypatch.setattr(os, "getloadavg", fail)
    assert doctor._load() == "unknown"
