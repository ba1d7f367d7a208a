"""Measures of a whole system on a benchmark of its kind.

- ``retrieval``: how near the top the passages are that answer a question
"""
