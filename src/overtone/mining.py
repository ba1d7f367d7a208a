"""What other models make of an embedder's texts before its fit: a teacher's vectors, and hard negatives."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import safetensors.torch
import torch

from overtone.cache import cache_folder
from overtone.data.questions import Questions
from overtone.embedder_recipe import NegativesConfig
from overtone.inference.embed import Embedder
from overtone.inference.lexical import Lexical
from overtone.inference.vectors import Vectors, exact
from overtone.progress import step
from overtone.run import write_atomic
from overtone.scores import Ints


def vectors(embedder: Embedder, texts: Sequence[str], what: str, *, query: bool) -> Vectors:
    """A teacher's vectors of N texts, (N, E); kept in the cache folder, since they are slow to make.

    Args:
        embedder: the teacher.
        texts: what it reads.
        what: they are, for the bar.
        query: whether it reads them as questions.
    """
    digest = hashlib.sha256(f"{embedder.name} {query} {len(texts)}".encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    path = cache_folder("vectors") / f"{digest.hexdigest()[:32]}.safetensors"
    if path.exists():
        try:
            kept: Vectors = safetensors.torch.load(path.read_bytes())["vectors"].numpy()
            return kept
        except (OSError, KeyError, safetensors.SafetensorError):
            path.unlink(missing_ok=True)  # cut short; made again
    with step(f"the teacher reads {len(texts):,} {what}") as tell:
        done = 0

        def told(more: int) -> None:
            nonlocal done
            done += more
            tell(done, len(texts))

        made = embedder.encode(texts, query=query, told=told)
    write_atomic(path, safetensors.torch.save({"vectors": torch.from_numpy(made)}))
    return made


def negatives(
    config: NegativesConfig,
    questions: Questions,
    taught: tuple[Vectors, Vectors] | None,
    seed: int,
) -> Ints:
    """Passages that do not answer, for each pair, (N, H); H is ``bm25 + teacher``.

    None of them is right for its question. One that the teacher finds too near is passed over; where the
    ranking has none left, one is drawn from all passages that are not right.

    Args:
        config: how many, and from where.
        questions: texts and pairs.
        taught: the teacher's vectors of passages and of questions; None: nothing is passed over.
        seed: of the draws.

    Raises:
        MissingExtraError: BM25 is not installed.
    """
    wanted = config.bm25 + config.teacher
    right: defaultdict[int, list[int]] = defaultdict(list)
    for question, passage in questions.pairs:
        right[question].append(passage)
    pairs = np.array(questions.pairs, dtype=np.int64)
    found = np.zeros((len(pairs), wanted), dtype=np.int64)
    if not wanted:
        return found
    generator = np.random.default_rng(seed)
    lexical = Lexical.build(questions.passages) if config.bm25 else None
    drawn: dict[int, tuple[Ints, ...]] = {}
    with step(f"mining negatives of {len(questions.asked):,} questions") as tell:
        for place, (question, passage) in enumerate(pairs.tolist()):
            if question not in drawn:
                ranked = _rankings(config, questions, question, lexical, taught)
                drawn[question] = tuple(each[~np.isin(each, right[question])] for each in ranked)
            taken: list[Ints] = []
            for ranking, most in zip(drawn[question], (config.bm25, config.teacher), strict=True):
                left = ranking if taught is None else _far(ranking, passage, question, config.margin, taught)
                if len(left) < most:
                    spare = np.setdiff1d(np.arange(len(questions.passages)), right[question])
                    taken += [left, generator.choice(spare, most - len(left))]
                else:
                    taken.append(generator.choice(left, most, replace=False))
            found[place] = np.concatenate(taken)
            if place % 1000 == 0:
                tell(place, len(pairs))
    return found


def _rankings(
    config: NegativesConfig,
    questions: Questions,
    question: int,
    lexical: Lexical | None,
    taught: tuple[Vectors, Vectors] | None,
) -> tuple[Ints, Ints]:
    """The first places of BM25 and of the teacher; empty where none is asked for."""
    none = np.zeros(0, dtype=np.int64)
    by_words = none if lexical is None else lexical.search(questions.asked[question], config.depth).rows
    by_meaning = none
    if config.teacher and taught is not None:
        by_meaning = exact(taught[0], taught[1][question], config.depth).rows
    return by_words, by_meaning


def _far(ranking: Ints, passage: int, question: int, margin: float, taught: tuple[Vectors, Vectors]) -> Ints:
    """Those of a ranking that the teacher finds far enough from the question, beside the right passage."""
    near = taught[0][ranking] @ taught[1][question]
    far: Ints = ranking[near < margin * float(taught[0][passage] @ taught[1][question])]
    return far
