"""The crisis detector: cross-validated on what it learns from, held-out recall and false alarms, latency.

`--fit` fits what is shipped, minutes a fold; scores of finished folds are kept in `--work` and not made
again. Words, MiniLM as it is with a regression on it, and MiniLM tuned are compared on the same folds; each
fold's threshold is chosen on the other folds. Leaving out a whole kind is done for the two that are fitted in
seconds. Intervals are Wilson's. The held-out conversations were written apart, and are looked at here alone;
`long-message` puts those of one message among everyday ones, which were learnt from.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from overtone.data.chat import Turn
from overtone.data.crisis import HELD_OUT, NEED_OF, TRAIN, CrisisCase, read_cases
from overtone.data.leakage import near_between
from overtone.data.text import fold
from overtone.evaluation.results import Figure, write_results
from overtone.inference import crisis_detector, crisis_fit, policy
from overtone.inference.crisis_fit import Looked, Splits
from overtone.inference.embed import EmbedderConfig
from overtone.inference.vectors import Vectors
from overtone.models.linear import fit
from overtone.scores import Bools, Floats, Ints

RESULTS = Path(__file__).parent / "results" / "crisis.json"
SEED = 7
NEAR = 0.5
"""Share of their words from which two conversations are worded alike."""

AROUND = 12
"""Everyday messages that a held-out one stands among, where it is looked for in a long message."""

MESSAGES = 200
"""Of the held-out or the training conversations, timed one by one."""

STRENGTH = 30.0
"""The inverse regularisation of the regression on frozen vectors."""

Score = Callable[[Looked, Ints, Ints], Floats]


def share(name: str, hits: int, n: int, against: str | None = None) -> Figure:
    """A share with Wilson's interval."""
    found = binomtest(hits, n).proportion_ci(method="wilson")
    return Figure(name, hits / n, float(found.low), float(found.high), n, against=against)


def frozen_vectors(looked: Looked) -> Vectors:
    """MiniLM's vectors of the last message and of what was said before it, side by side, (N, 2D)."""
    embedder = EmbedderConfig(precision="fp32").build()
    last = embedder.encode([view.text for view in looked.views], query=True)
    before = embedder.encode([view.context or "" for view in looked.views], query=True)
    there = np.array([view.context is not None for view in looked.views])
    return np.hstack([last, before * there[:, None]])


def by_frozen(vectors: Vectors) -> Score:
    """The log-odds of a regression on frozen vectors."""

    def score(looked: Looked, learnt: Ints, scored: Ints) -> Floats:
        model = fit(vectors[learnt], looked.crisis[learnt].astype(np.int64), 2, STRENGTH)
        outputs = model.outputs(vectors[scored])
        odds: Floats = outputs[:, 1] - outputs[:, 0]
        return odds

    return score


def cross_validated(score: Score, looked: Looked, splits: Splits) -> Floats:
    """The log-odds of every conversation by a fit that did not see it, (N,)."""
    odds = np.full(len(looked.kinds), np.nan)
    for learnt, scored in splits:
        odds[scored] = score(looked, learnt, scored)
    return odds


def kept(score: Score, work: Path, data: str) -> Score:
    """The same score, each fold's in a file, and not made again for the same data."""

    def scored_once(looked: Looked, learnt: Ints, scored: Ints) -> Floats:
        path = work / f"{data[:12]}-{scored[0]}-{len(scored)}.npy"
        if not path.exists():
            work.mkdir(parents=True, exist_ok=True)
            np.save(path, score(looked, learnt, scored))
        found: Floats = np.load(path)
        return found

    return scored_once


def decided(odds: Floats, crisis: Bools, splits: Splits) -> Bools:
    """What each fold decides by the threshold of the other folds' scores, (N,)."""
    found = np.zeros(len(odds), dtype=np.bool_)
    for learnt, scored in splits:
        rule = crisis_fit.rule(odds[learnt], crisis[learnt])
        found[scored] = rule.probabilities(odds[scored]) >= rule.threshold
    return found


def told(prefix: str, found: Bools, looked: Looked, *, kinds: bool = False) -> list[Figure]:
    """Recall and false alarms of some decisions, and the share that is right of each kind."""
    crisis, names = looked.crisis, np.array(looked.kinds)
    made = [
        share(f"{prefix}.recall", int(found[crisis].sum()), int(crisis.sum()), "at least 0.97"),
        share(f"{prefix}.false_alarm", int(found[~crisis].sum()), int((~crisis).sum()), "at most 0.05"),
    ]
    if kinds:
        for kind in dict.fromkeys(looked.kinds):
            rows = names == kind
            right = int((found[rows] == (kind in NEED_OF)).sum())
            made.append(share(f"{prefix}.{kind}", right, int(rows.sum()), "share that is right"))
    return made


def kind_left_out(name: str, score: Score, looked: Looked, limit: crisis_detector.Rule) -> list[Figure]:
    """The share that is right of each kind when no conversation of that kind was learnt from."""
    made = []
    for kind, learnt, scored in crisis_fit.kinds_left_out(looked):
        found = limit.probabilities(score(looked, learnt, scored)) >= limit.threshold
        right = int((found == (kind in NEED_OF)).sum())
        made.append(share(f"crisis.kind-left-out.{name}.{kind}", right, len(scored)))
    return made


def compared(cases: Sequence[CrisisCase], work: Path) -> tuple[list[Figure], crisis_detector.Fitted]:
    """Every system on the same folds; and what the shipped one is to be set to."""
    looked = crisis_fit.look(cases)
    splits, data = crisis_fit.folds(looked), crisis_fit.fingerprint(cases)
    frozen = by_frozen(frozen_vectors(looked))
    tuned = kept(crisis_fit.by_understanding, work, data)
    odds = {
        "words": cross_validated(crisis_fit.by_words, looked, splits),
        "frozen": cross_validated(frozen, looked, splits),
        "tuned": cross_validated(tuned, looked, splits),
    }
    for name in ("frozen", "tuned"):
        weight = crisis_fit.weight(odds[name], odds["words"], looked.crisis)
        odds[f"{name}-words"] = odds[name] + weight * odds["words"]
    made = []
    for name, scores in odds.items():
        auc = float(roc_auc_score(looked.crisis, scores))
        made.append(Figure(f"crisis.cross-validated-{name}.roc_auc", auc, n=len(cases), unit="area"))
        found = decided(scores, looked.crisis, splits)
        made += told(f"crisis.cross-validated-{name}", found, looked, kinds=name == "tuned-words")
    for name, score in (("words", crisis_fit.by_words), ("frozen", frozen)):
        limit = crisis_fit.rule(odds[name], looked.crisis)
        made += kind_left_out(name, score, looked, limit)
    return made, crisis_fit.settle(cases, odds["tuned"], odds["words"])


def held_out(cases: Sequence[CrisisCase]) -> list[Figure]:
    """The shipped detector on the held-out conversations, and its words by themselves."""
    looked = crisis_fit.look(cases)
    made = []
    whole = crisis_detector.load()
    alone = crisis_detector.Detector(whole.fitted, whole.words, None)
    for prefix, detector in (("crisis", whole), ("crisis.words", alone)):
        guard = policy.CrisisPolicy(detector)
        found = np.array([guard.before(case.turns).crisis for case in cases])
        made += told(prefix, found, looked, kinds=True)
    among = amid(cases)
    found = np.array([policy.CrisisPolicy(whole).before(case.turns).crisis for case in among])
    return made + told("crisis.long-message", found, crisis_fit.look(among))


def amid(cases: Sequence[CrisisCase]) -> list[CrisisCase]:
    """Each conversation of one message, somewhere in a long one of everyday messages."""
    everyday = [case.turns[0].text for case in read_cases(TRAIN) if case.kind == "everyday"]
    chance, found = random.Random(SEED), []
    for case in cases:
        if len(case.turns) == 1:
            said = chance.sample(everyday, AROUND)
            said.insert(chance.randrange(AROUND + 1), case.turns[0].text)
            found.append(CrisisCase(case.id, case.kind, (Turn("user", " ".join(said)),)))
    return found


def unlike(held: Sequence[CrisisCase], learnt: Sequence[CrisisCase]) -> list[CrisisCase]:
    """The held-out conversations that are not worded nearly like one that was learnt from."""
    known = {fold(case.turns[-1].text) for case in learnt}
    near = near_between([case.text for case in learnt], [case.text for case in held], NEAR, minimum=1)
    left_out = {pair[1] for pair in near}
    found = [
        case
        for place, case in enumerate(held)
        if place not in left_out and fold(case.turns[-1].text) not in known
    ]
    print(f"{len(held) - len(found)} of {len(held)} held-out conversations are like one that was learnt from")
    return found


def latency(cases: Sequence[CrisisCase]) -> Figure:
    """Milliseconds a message on one thread of the processor, the median."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    guard, seconds = policy.load(), []
    chosen = [cases[row] for row in np.random.default_rng(SEED).permutation(len(cases))[: MESSAGES + 5]]
    for case in chosen:
        begun = time.perf_counter()
        guard.before(case.turns)
        seconds.append(time.perf_counter() - begun)
    torch.set_num_threads(threads)
    timed = np.array(seconds[5:])  # the first ones wake things up
    return Figure(
        "crisis.latency_ms",
        1000 * float(np.median(timed)),
        n=len(timed),
        unit="ms",
        against=f"at most 15; the slowest of 20 takes {1000 * np.quantile(timed, 0.95):.1f}",
    )


def main() -> None:
    """Compare, fit where it is asked for, judge, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="Fit the detector that is shipped.")
    parser.add_argument("--no-held-out", action="store_true", help="Leave the held-out conversations alone.")
    parser.add_argument("--work", type=Path, default=Path("runs/crisis"), help="Where folds are kept.")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()

    cases = read_cases(TRAIN)
    unseen = [] if options.no_held_out else unlike(read_cases(HELD_OUT), cases)
    made, fitted = compared(cases, options.work)
    if options.fit:
        crisis_fit.build(cases, fitted, crisis_detector.shipped())
    made += held_out(unseen) if unseen else []
    made.append(latency(unseen or cases))
    flags = [f"--{name}" for name in ("fit", "no-held-out") if getattr(options, name.replace("-", "_"))]
    write_results(options.output, " ".join(["python benchmarks/crisis.py", *flags]), SEED, made)
    for each in made:
        print(f"{each.name} {each.value:.4f} {each.unit}")


if __name__ == "__main__":
    main()
