"""The fit of the crisis detector: folds that do not leak, thresholds by hand, and what is shipped."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from overtone.data.chat import Turn
from overtone.data.crisis import KINDS, NEEDS, TRAIN, CrisisCase, read_cases
from overtone.errors import RunError
from overtone.inference import crisis_detector, crisis_encoder, crisis_fit, crisis_words
from overtone.inference.crisis_encoder import Understanding
from overtone.inference.crisis_views import View
from overtone.inference.crisis_words import Words
from toys import write_encoder


@pytest.fixture(scope="module")
def cases():
    return read_cases(TRAIN)


def test_what_ships_was_fitted_on_what_ships(cases):
    assert crisis_detector.load().fitted.data == crisis_fit.fingerprint(cases)


def test_the_shipped_words_are_those_of_a_fresh_fit(cases, tmp_path):
    looked = crisis_fit.look(cases)
    Words.fit(list(looked.views), list(looked.kinds)).save(tmp_path)
    fresh = load_file(tmp_path / crisis_words.FILE)
    shipped = load_file(crisis_detector.shipped() / crisis_words.FILE)
    assert fresh.keys() == shipped.keys()
    for name, array in fresh.items():
        np.testing.assert_allclose(array.astype(float), shipped[name].astype(float), atol=2e-3)


def test_what_ships_is_small_and_not_pickled():
    files = list(crisis_detector.shipped().iterdir())
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert sum(path.stat().st_size for path in files) < 2_000_000


def test_folds_have_every_kind_and_part_no_two_that_are_alike(cases):
    looked = crisis_fit.look(cases)
    seen = []
    for learnt, scored in crisis_fit.folds(looked):
        assert not set(looked.groups[learnt]) & set(looked.groups[scored])
        assert {looked.kinds[row] for row in scored} == set(KINDS)
        seen += scored.tolist()
    assert sorted(seen) == list(range(len(cases)))


def test_conversations_that_are_worded_alike_share_a_group():
    made = [
        CrisisCase(str(i), "idiom", (Turn("user", text),))
        for i, text in enumerate(
            (
                "the cat sat on the red mat by the door",
                "the cat sat on the blue mat by the door",
                "something else is said here by another one",
            )
        )
    ]
    one, other, third = crisis_fit.look(made).groups
    assert one == other
    assert one != third


def test_a_kind_left_out_is_not_learnt_from(cases):
    looked = crisis_fit.look(cases)
    for kind, learnt, scored in crisis_fit.kinds_left_out(looked):
        assert {looked.kinds[row] for row in scored} == {kind}
        assert kind not in {looked.kinds[row] for row in learnt}
        assert len(learnt) + len(scored) == len(cases)


def test_the_threshold_finds_the_wanted_share():
    """Of 200 at risk, 6 may be missed: the threshold is at the seventh lowest."""
    rng = np.random.default_rng(0)
    odds = np.concatenate([rng.normal(2, 1, 200), rng.normal(-2, 1, 200)])
    crisis = np.arange(400) < 200
    rule = crisis_fit.rule(odds, crisis)
    found = rule.probabilities(odds) >= rule.threshold
    assert found[crisis].sum() == 194
    assert rule.slope > 0
    assert crisis_fit.RECALL == 0.97


def test_words_that_know_nothing_do_not_count():
    rng = np.random.default_rng(1)
    crisis = rng.random(2000) < 0.5
    understood = np.where(crisis, 1.0, -1.0) + rng.normal(0, 1.5, 2000)
    assert crisis_fit.weight(understood, rng.normal(0, 1, 2000), crisis) < 0.2
    assert crisis_fit.weight(understood, -understood + rng.normal(0, 3, 2000), crisis) >= 0


def test_log_odds_and_needs_of_logits_by_hand():
    kind = np.full((1, len(KINDS)), -np.inf)
    kind[0, KINDS.index("plan_or_means")] = np.log(6)
    kind[0, KINDS.index("abuse_now")] = np.log(2)
    kind[0, KINDS.index("idiom")] = np.log(2)
    assert crisis_encoder.log_odds(kind, np.array([[0.0, 1.0]])) == pytest.approx([(np.log(4) + 1) / 2])
    assert crisis_encoder.needs(kind)[0] == pytest.approx([0.75, 0.25, 0, 0, 0])
    assert NEEDS[:2] == ("suicide", "abuse")


def test_the_encoder_learns_and_is_read_back(tmp_path, monkeypatch):
    body = crisis_encoder.BODY.model_copy(update={"weights": str(tmp_path / "tiny"), "max_length": 32})
    write_encoder(tmp_path / "tiny")
    train = crisis_fit.TRAIN.model_copy(update={"epochs": 12, "precision": "fp32"})
    for module in (crisis_fit, crisis_encoder):
        monkeypatch.setattr(module, "BODY", body)
    monkeypatch.setattr(crisis_fit, "TRAIN", train)
    monkeypatch.setattr(
        crisis_fit.weights, "CATALOGUE", {body.weights: crisis_fit.weights.CATALOGUE["minilm-l6"]}
    )
    looks = [View("rain " * (1 + i % 3), None) for i in range(24)] + [
        View("sun " * (1 + i % 3), "house") for i in range(24)
    ]
    kinds = ["active_ideation"] * 24 + ["idiom"] * 24
    model = crisis_fit.tuned(looks, kinds)
    odds, needs = Understanding(model).outputs(looks)
    assert odds[:24].min() > odds[24:].max()
    assert needs.sum(axis=1) == pytest.approx(1)
    crisis_fit.save_encoder(model, tmp_path / "saved")
    again, _ = Understanding.load(tmp_path / "saved").outputs(looks)
    assert again == pytest.approx(odds, abs=0.1)  # bf16


def test_words_are_read_back_and_damage_is_named(tmp_path):
    looks = [View("i want to die", None), View("dying for tea", None)]
    made = Words.fit(looks, ["active_ideation", "idiom"])
    made.save(tmp_path)
    again = Words.load(tmp_path)
    assert np.array_equal(made.outputs(looks)[0], again.outputs(looks)[0])
    assert made.outputs(looks)[0][0] > made.outputs(looks)[0][1]
    (tmp_path / crisis_words.FILE).write_bytes(b"nonsense")
    with pytest.raises(RunError, match="cannot be read"):
        Words.load(tmp_path)


def test_a_damaged_rule_is_named(tmp_path):
    (tmp_path / crisis_detector.FILE).write_text('{"words_weight": 1}', encoding="utf-8")
    with pytest.raises(RunError, match=r"detector\.json is damaged"):
        crisis_detector.load(tmp_path)
