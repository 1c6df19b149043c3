"""Assets of the traces room: scenarios, the elicitation plan, teacher answers."""

import dagster as dg
import polars as pl

from assets.traces.elicitation import run_elicitation
from assets.traces.panel import choose_panel
from assets.traces.plan import estimate_cost, plan_elicitation
from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_table import scenarios_table
from assets.traces.teachers import TeacherEndpoint, open_teacher
from orchestration.resources import Platform
from orchestration.settings import Settings
from orchestration.table_assets import table_options


def teacher_endpoint(settings: Settings) -> TeacherEndpoint:
    """The teacher that the settings choose; the embedded one when no address is set."""
    return TeacherEndpoint(
        base_url=settings.teacher_base_url,
        model=settings.teacher_model,
        api_key=settings.openai_api_key.get_secret_value() if settings.openai_api_key else None,
    )


@dg.asset(
    **table_options("scenarios"),
    description="Questions, events and triggers of every scenario file, with embedded texts.",
)
def scenarios(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Reads and checks the scenario folder."""
    read = read_scenarios(platform.settings.scenarios_dir)
    context.log.info(f"{len(read)} scenarios from {platform.settings.scenarios_dir}")
    return dg.Output(scenarios_table(read), metadata={"scenarios": dg.MetadataValue.json([item.id for item in read])})
