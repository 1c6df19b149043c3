"""The two engines (lsm, lpm) and their kernels, in torch only.

Nothing here knows of Dagster, MLflow, Delta or the files of this project: tensors in, tensors out.
"""
