"""Proof that a model is better, or that it is not.

- ``config``: what is evaluated beside the model itself
- ``baselines``: what any model has to beat: the commonest answer, TF-IDF, frozen-backbone probe
- ``ngram``: what a language model has to beat; ``language``: what it gives a stream of tokens
- ``bootstrap``: the resampling that every interval stands on, fast for metrics that are sums over rows
- ``compare``: intervals, paired differences, McNemar, flips; per-example scores on disk
- ``lines``: how a row of them is written and read
- ``findings``: what a report is made of, and the verdict on a task in one sentence
- ``report``: what a run says about itself, in Markdown; ``page`` makes one HTML file of it
- ``chapter``: its part on one task; ``chapter_classes`` and ``chapter_numbers`` say what only one kind has
- ``plots``: pictures of classes; ``plots_numbers``: of numbers; ``plots_run``: of a whole run
- ``drawing``: how every picture looks
- ``study``: what the arms of a grid gain, over seeds; ``study_page`` is its page, ``forest`` its picture
- ``markdown``: escaped text, tables and signed numbers
- ``judge``: answers graded by a language model; ``agreement``: what that judge is worth
- ``exam_report``: what a tuned decoder's run says about itself
- ``eq_bench_report``: what an EQ-Bench exam says
- ``parity_chat``: whether its exported forms say the same
- ``benchmarks/``: measures of whole systems, such as retrieval
- ``results``: the committed figures of the benchmark scripts, and the README's tables made from them
"""
