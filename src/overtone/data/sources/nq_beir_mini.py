"""A few pages of BEIR's Natural Questions: several relevant passages a question, small enough to look at."""

from __future__ import annotations

from functools import partial

from overtone.data import corpus
from overtone.data.records import Card, Source

CARD = Card(
    name="nq_beir_mini",
    title="The first 589 passages of BEIR's Natural Questions, with 20 questions that they answer",
    licence="CC-BY-SA-3.0",
    commercial=True,
    url="https://github.com/beir-cellar/beir",
    citation="Kwiatkowski et al., Natural Questions, TACL 2019; Thakur et al., BEIR, NeurIPS 2021",
    files={
        "corpus.jsonl": "ab2c545974171443dfc8c5f4ad2264a1be3703e267934b24befd8f2d0b586bd6",
        "queries.jsonl": "5d6146866208ff827499341f47893432a850c4962d77cc2481d31d1b71b17356",
        "qrels/test.tsv": "e9af6b7f7d41ecdeb153f4885a7702001ffbd5b223948735a17a79544b1ce5ae",
    },
    sizes={"test": 20},
    notes="So small that a figure on it says little; it shows that several relevant passages are counted.",
    folder="retrieval/nq_beir_mini",
)

SOURCE = Source(CARD, partial(corpus.records, name=CARD.name))
