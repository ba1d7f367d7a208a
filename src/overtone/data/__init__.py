"""From a data set's files to train, validation and test rows.

- ``records``: the value types (record, card, source, splits)
- ``sources/``: one file a data set
- ``files``: read UTF-8 lines and hash content, plain or gzipped
- ``rows``: rows of CSV, TSV and JSON lines by column name, with their places
- ``fetch``: the catalogue; where a data set's files are, whether they are the right ones, how to get them
- ``partition``: the ways to divide rows (official, seeded, pooled)
- ``text``: folding and words, for comparing texts
- ``leakage``: exact and near duplicates between splits
- ``split``: ``prepare``, which does all of it and says what it did
- ``corpus``: passages, questions and what answers them, in BEIR's layout; ``passages``: a folder of one's own
- ``conversations``: the same for conversations; ``replies``: what is known of each, and where a head reads it
- ``preferences``: of two replies the better one; ``support_pairs``: those of ESConv
- ``crisis``: conversations with and without somebody at risk
- ``tokenize``: texts to token ids
- ``vocabulary``: tokenizers of one's own, for models from scratch
- ``fertility``: how a tokenizer fits a corpus
- ``stream``: documents as one stream of tokens, in windows without padding
- ``batches``: tokenised texts in seeded batches, bucketed by length
- ``turns``: what a line of a shipped conversation may hold, checked
- ``red_team``: prompts that tempt a listener, and openers
- ``shipped/``: what the package carries: sentences, edge cases, knowledge, crises, red-team prompts
"""
