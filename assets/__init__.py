"""The lineage from surveys to evidence, one room per stage.

In each room plain modules hold the science; only `definitions.py` and `checks.py` import Dagster. Rooms meet through
tables, never by importing each other's science.
"""
