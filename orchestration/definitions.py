"""Everything that Dagster loads: assets, checks, jobs, the schedule, the sensor and the resources."""

import os

import dagster as dg

from assets.distillation import checks as distillation_checks
from assets.distillation import definitions as distillation
from assets.evidence import checks as evidence_checks
from assets.evidence import definitions as evidence
from assets.population import checks as population_checks
from assets.population import definitions as population
from assets.simulation import checks as simulation_checks
from assets.simulation import definitions as simulation
from assets.society import checks as society_checks
from assets.society import definitions as society
from assets.traces import checks as traces_checks
from assets.traces import definitions as traces
from assets.workforce import checks as workforce_checks
from assets.workforce import definitions as workforce
from orchestration.io_managers import DeltaTables
from orchestration.jobs import PROGRESS_LOGGER, lineage_job, sweep_job
from orchestration.progress import progress_logger
from orchestration.resources import ModelRegistry, Platform
from orchestration.schedules import nightly_sweep
from orchestration.sensors import new_champion, new_scenario_files
from orchestration.settings import TELEMETRY_OPT_OUTS

for _name, _value in TELEMETRY_OPT_OUTS.items():
    os.environ.setdefault(_name, _value)

ROOMS = (population, society, traces, distillation, simulation, workforce, evidence)
CHECKS = (
    population_checks,
    society_checks,
    traces_checks,
    distillation_checks,
    simulation_checks,
    workforce_checks,
    evidence_checks,
)

_platform = Platform()

defs = dg.Definitions(
    assets=[asset for room in ROOMS for asset in dg.load_assets_from_modules([room])],
    asset_checks=[check for room in CHECKS for check in dg.load_asset_checks_from_modules([room])],
    jobs=[lineage_job, sweep_job],
    schedules=[nightly_sweep],
    sensors=[new_scenario_files, new_champion],
    resources={
        "platform": _platform,
        "registry": ModelRegistry(),
        "io_manager": DeltaTables(platform=_platform),
    },
    loggers={PROGRESS_LOGGER: progress_logger},
    executor=dg.multiprocess_executor if os.environ.get("POPULACE_EXECUTOR") == "parallel" else dg.in_process_executor,
)
