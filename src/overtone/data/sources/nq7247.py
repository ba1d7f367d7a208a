"""Natural Questions over 7,247 Wikipedia passages: real questions, one annotated passage each."""

from __future__ import annotations

from functools import partial

from overtone.data import corpus
from overtone.data.records import Card, Source

CARD = Card(
    name="nq7247",
    title="Natural Questions over 7,247 Wikipedia passages, one relevant passage a question",
    licence="CC-BY-SA-3.0",
    commercial=True,
    url="https://github.com/nelson-liu/lost-in-the-middle",
    citation="Kwiatkowski et al., Natural Questions, TACL 2019; Liu et al., Lost in the Middle, TACL 2024",
    files={
        "corpus.jsonl": "45af7d35cdf5b9d9af58cfff2bcd25f1b0620b59d04f127c209a16624a29784e",
        "queries.jsonl": "18a95c7317a78877688840bfbf21ad96460982b998d26ec5161639b35ca9f806",
        "qrels/train.tsv": "3ecb9a194869cbec24bfbb82d4487622d6eddb65d45280acc965e3518522b777",
        "qrels/dev.tsv": "87436a84d8c472c1a071151d79c351a275ebd7056f0eeb091a1732394e3e4f37",
        "qrels/test.tsv": "08404b8d4a67967a15ca919969a2528efaaed3f14d0b30086e25b6d07f176b23",
    },
    sizes={"train": 1_904, "validation": 250, "test": 501},
    notes="Relevance is sparse: another passage may answer a question too, and counts as a miss. Distractors "
    "are about 100 words long, relevant passages often shorter. Questions that share a passage are in one "
    "split.",
    folder="retrieval/nq7247",
)

SOURCE = Source(CARD, partial(corpus.records, name=CARD.name))
