"""Measures of a whole system on a benchmark of its kind.

- ``eq_bench``: how near ratings of emotions come to the reference
- ``qa``: how right the answers of a tutor are
- ``retrieval``: how near the top the passages are that answer a question
- ``safety``: whether replies to red-team prompts are safe and kind
"""
