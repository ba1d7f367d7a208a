"""Facts to look up, few enough to count by hand."""

from __future__ import annotations

import numpy as np

from overtone.data.sources.deaf_knowledge import Unknown
from overtone.data.text import words
from overtone.inference import lookup_fit
from overtone.inference.lookup import Fact, LookupConfig


class Bag:
    """An embedder that counts words: each has an axis of its own, from the first time that it is met."""

    def __init__(self, name="bag"):
        self.name = name
        self.dimensions = 64
        self.axes = {}
        self.asked = []

    def encode(self, texts, *, query=False, told=None):
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        self.asked += texts if query else []
        for row, text in enumerate(texts):
            for word in words(text):
                vectors[row, self.axes.setdefault(word, len(self.axes))] += 1
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def fact(name, *questions, answer):
    return Fact(name, questions, answer, f"source of {name}")


FACTS = (
    fact("bread", "when is bread baked", "who bakes at night", answer="bread is baked at night"),
    fact("ferry", "when does the ferry run", "is there a boat", answer="the ferry is a boat that runs daily"),
    fact("library", "when does the library close", answer="its doors are shut at six"),
    fact(
        "post",
        "where are letters sent",
        "how is mail posted",
        answer="letters and mail leave the post office",
    ),
)
UNKNOWN = tuple(
    Unknown(f"u{n}", "fit", "far", text)
    for n, text in enumerate(("is there snow", "who won the cup", "how tall is the tower"))
)


def fitted(facts=FACTS, unknown=UNKNOWN, **changes):
    return lookup_fit.fit(facts, unknown, LookupConfig(**changes), Bag())
