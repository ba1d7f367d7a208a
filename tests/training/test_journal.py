from __future__ import annotations

import pytest

from overtone.run import Run
from overtone.training import journal
from overtone.training.journal import Journal, Step


@pytest.fixture
def opened(tmp_path):
    run = Run(tmp_path)
    book = Journal(run, tensorboard=False, silent=False)
    with book.open():
        yield book


def test_what_was_made_smaller_is_the_weighed_sum():
    step = Step({"a": 2.0, "b": 0.5}, {"a": 1.0, "b": 4.0, "absent": 9.0}, norm=1.0)
    assert step.loss == pytest.approx(4.0)


def test_a_step_and_a_validation_are_lines(opened):
    opened.step({"step": 3, "epoch": 0.5}, Step({"a": 2.0}, {"a": 0.5}, norm=1.5), 1e-3, 42.0)
    opened.validation({"step": 3, "epoch": 1, "best": True}, {"mean": 0.7})
    step, validation = opened.run.history()
    assert step == {
        "step": 3,
        "epoch": 0.5,
        "loss": 1.0,
        "losses": {"a": 2.0},
        "weights": {"a": 0.5},
        "lr": 1e-3,
        "gradient_norm": 1.5,
        "rows_per_second": 42.0,
    }
    assert validation == {"step": 3, "epoch": 1, "best": True, "validation": {"mean": 0.7}}


def test_of_several_processes_one_writes(tmp_path):
    book = Journal(Run(tmp_path), tensorboard=True, silent=True)
    with book.open():
        book.step({"step": 1, "epoch": 1}, Step({}, {}, norm=0.0), 0.0, 0.0)
        book.say("quiet")
        book.at(1, 2, "quiet")
        book.frozen(1, 2)
        book.frozen(2, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("patience", "shown"), [(-1.0, True), (60.0, False)])
def test_what_takes_a_while_has_a_bar_of_its_own(opened, monkeypatch, patience, shown):
    """And none afterwards, so that the next one begins anew."""
    monkeypatch.setattr(journal, "PATIENCE", patience)
    for _ in range(2):
        opened.frozen(2, 8)
        opened.frozen(5, 8)
        training, frozen = opened.bar.tasks
        assert (training.fields["what"], frozen.fields["what"]) == ("training", "frozen layers")
        assert (frozen.completed, frozen.total, frozen.visible) == (5, 8, shown)
        opened.frozen(8, 8)
        assert len(opened.bar.tasks) == 1
