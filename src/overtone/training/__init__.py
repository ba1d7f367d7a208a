"""Training: one loop for every system.

``losses`` outputs and targets → a sum and what to divide it by · ``tasks`` name, labels, loss, weight ·
``freezing`` what is trained · ``cache`` frozen states, computed once · ``optim`` groups and schedules ·
``stopping`` patience and signals · ``checkpoint`` exact resume without pickle · ``loop`` the one loop.
"""
