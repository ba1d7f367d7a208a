"""Training: one loop for every system.

``losses`` outputs and targets → a sum and what to divide it by · ``tasks`` name, head, loss, metrics, weight ·
``freezing`` what is trained · ``cache`` frozen states, computed once · ``optim`` parameter groups and schedules ·
``checkpoint`` exact resume without pickle · ``loop`` the one loop.
"""
