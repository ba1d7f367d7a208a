"""Proof that a model is better, or that it is not.

- ``config``: what is evaluated beside the model itself
- ``baselines``: what any model has to beat: majority, TF-IDF, frozen-backbone probe
- ``bootstrap``: the resampling that every interval stands on, fast for metrics that are sums over rows
- ``compare``: intervals, paired differences, McNemar, flips; per-example scores on disk
- ``plots``: the report's pictures
- ``report``: what a run says about itself; ``page`` turns its Markdown into one HTML file
- ``results``: the committed figures of the benchmark scripts, and the README's tables made from them
"""
