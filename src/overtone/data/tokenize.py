"""Texts to token ids, once, before the first epoch."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from overtone.data.batches import Encoded, gathered

CHARACTERS = 64
"""Characters that are read of a text for each token that is kept."""


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    max_length: int,
    contexts: Sequence[str | None] | None = None,
) -> Encoded:
    """Tokenise texts with their special tokens, cut at ``max_length`` tokens.

    Args:
        tokenizer: of the model.
        texts: N texts.
        max_length: tokens kept of each.
        contexts: what was said before each, where there is something; it is read first, as the first of a
            pair, and of a pair that is too long the longer part is cut.

    Returns:
        The ids of all N texts in one flat array, with how many texts were cut.
    """
    if not texts:
        return gathered([], tokenizer.pad_token_id)
    # A text of 10 MB would be tokenised whole before it is cut; tokens are shorter than this on average.
    limit = max_length * CHARACTERS
    clipped = [text if len(text) <= limit else text.lstrip()[:limit] for text in texts]
    before = [None] * len(clipped) if contexts is None else contexts
    ids: list[list[int]] = [[]] * len(clipped)
    for alone in (True, False):
        rows = [row for row, context in enumerate(before) if (context is None) == alone]
        if not rows:
            continue
        first = [clipped[row] if alone else str(before[row])[-limit:] for row in rows]
        second = None if alone else [clipped[row] for row in rows]
        backend = tokenizer(first, second, truncation="longest_first", max_length=max_length)
        for row, tokens in zip(rows, backend["input_ids"], strict=True):
            ids[row] = tokens
    return gathered(ids, int(tokenizer.pad_token_id), sum(len(row) == max_length for row in ids))
