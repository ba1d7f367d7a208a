"""Proof that a model is better, or that it is not.

- ``config``: what is evaluated beside the model itself
- ``baselines``: what any model has to beat: majority, TF-IDF, frozen-backbone probe
- ``bootstrap``: the resampling that every interval stands on, fast for metrics that are sums over rows
- ``compare``: intervals, paired differences, McNemar, flips; per-example scores on disk
- ``plots``: the report's pictures
- ``findings``: what a report is made of, and its verdict in one sentence
- ``report``: what a run says about itself, in Markdown; ``page`` makes one HTML file of it
- ``markdown``: escaped text, tables and signed numbers
- ``results``: the committed figures of the benchmark scripts, and the README's tables made from them
"""
