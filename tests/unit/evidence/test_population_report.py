"""The population's quality in the report: real tables of a small population, through the report's own SQL."""

import dataclasses

import duckdb
import polars as pl
import pytest

from assets.evidence.report_context import TableVersion
from assets.evidence.report_population import population_quality_blocks
from assets.population.diagnostics import calibration_diagnostics
from assets.population.disclosure import disclosure_rows
from assets.population.imputation_quality import imputation_quality_rows
from assets.population.joint_structure import joint_structure_rows
from assets.population.population_file import PopulationFile, ReplicateEntry
from assets.population.shards import plan_population
from assets.population.synthesis import make_population


@pytest.fixture(scope="module")
def tables(embedded):
    seed, frame, margins = embedded.calibration.seed, embedded.calibration.frame, embedded.margins
    file = PopulationFile(replicates=ReplicateEntry(number=4))
    made = make_population(plan_population(seed, frame, margins, 800, 2))
    donors = seed.join(frame.drop("design_weight"), on="respondent_id", maintain_order="left")
    return {
        "calibration_diagnostics": calibration_diagnostics(seed, frame, margins, file, 1),
        "households": made.households,
        "imputation_quality": imputation_quality_rows(made.agents, donors, None, file, 1),
        "joint_structure": joint_structure_rows(made.agents, seed, frame, margins, 1),
        "disclosure": disclosure_rows(made.agents, seed, 1),
    }


def test_every_table_has_rows_and_copies_are_named(tables, report_context):
    connection = duckdb.connect()
    for name, frame in tables.items():
        connection.register(name, frame.to_arrow())
    known = tuple(TableVersion(name, 0, frame.height, "") for name, frame in tables.items())
    blocks = population_quality_blocks(
        lambda sql: pl.DataFrame(connection.sql(sql).to_arrow_table()),
        dataclasses.replace(report_context, tables=known),
    )
    assert len(blocks) == 8
    assert "Agents equal respondents in all attributes" in str(blocks[-1])
    assert population_quality_blocks(lambda _: pl.DataFrame(), dataclasses.replace(report_context, tables=())) == []


def test_agents_keep_the_joint_structure_of_the_survey(tables):
    joint = tables["joint_structure"]
    assert joint.height == 55
    assert joint["is_within_sampling_error"].mean() >= 0.85
    assert dict(joint.group_by("is_raked").len().iter_rows())[True] == 2
