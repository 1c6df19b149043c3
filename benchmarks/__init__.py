"""Side-by-side performance: ours against a peer or against the machine's floor, in one process and one run.

A row is a ratio with a target; rows that miss print `falls short`. Run them with `make bench`.
"""
