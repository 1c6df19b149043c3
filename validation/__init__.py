"""Table contracts, expectation suites, metrics and the building blocks of reports.

Nothing here imports Dagster, MLflow, Delta or torch, and nothing here knows where a table is stored.
"""
