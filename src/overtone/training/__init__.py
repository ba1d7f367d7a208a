"""Training: one loop for every system.

``losses`` outputs and targets → a sum and what to divide it by · ``distil`` a teacher beside the gold ·
``tasks`` name, kind, loss, weight · ``weighting`` how the losses of tasks add up · ``freezing`` what is
trained, and when · ``cache`` frozen states, computed once · ``shelf`` where they stay on disk · ``optim``
groups and schedules · ``stopping`` patience and signals · ``checkpoint`` exact resume without pickle ·
``processes`` who takes part · ``journal`` bar and logs · ``loop`` the one loop.
"""
