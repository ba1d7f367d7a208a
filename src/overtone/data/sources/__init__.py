"""One file a data set: its card, its records, its label names and its recipe config.

- ``emotion``: English tweets, six emotions (dair-ai)
- ``goemotions``: Reddit comments, 27 emotions and neutral, multi-label
- ``overtone_emotions``: the eight-emotion sentences and edge cases that the package ships
- ``sarcasm_headlines``: news headlines, sarcastic or plain
- ``table``: a user's own CSV, TSV, JSONL or Parquet file

A module here that exports ``SOURCE`` is in the catalogue; one that a recipe can name has a config, which
``overtone.data.split`` lists in ``SourceConfig``.
"""
