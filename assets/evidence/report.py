"""The validation report: one self-contained HTML page in which every figure shows the SQL that recomputes it."""

from assets.evidence import report_behaviour as behaviour
from assets.evidence import report_distillation as distilled
from assets.evidence import report_evidence as evidence
from assets.evidence import report_forecasts as forecasts
from assets.evidence import report_gates as gates
from assets.evidence import report_inputs as inputs
from assets.evidence import report_recorded as recorded
from assets.evidence import report_recorded_survey as recorded_survey
from assets.evidence import report_rectification as rectification
from assets.evidence import report_simulated as simulated
from assets.evidence import report_workforce as workforce
from assets.evidence.report_context import ReportContext
from validation.report import Page, Query, render_page


def build_report(query: Query, context: ReportContext) -> str:
    """The report of a run as HTML; see `report_page`."""
    return render_page(report_page(query, context))


def report_page(query: Query, context: ReportContext) -> Page:
    """Builds the report of a run.

    Every table and chart is made by running its SQL through `query`, so that what the page shows and what
    `populace query` answers are the same rows. The page holds all figures as JSON too
    (`validation.report.read_figures`).

    Args:
        query: answers DuckDB SQL over the tables that `context.tables` names.
        context: what the run was; sections whose tables are absent say so.

    Returns:
        The page; rendered, it has no reference to the network.

    Raises:
        ValueError: a link of the context has an address that is not allowed.
    """
    sections = (
        simulated.summary_section(query, context),
        inputs.scenarios_section(query, context),
        inputs.population_section(query, context),
        inputs.society_section(query, context),
        inputs.traces_section(query, context),
        recorded.recorded_section(query, context),
        recorded_survey.recorded_survey_section(query, context),
        evidence.student_section(query, context),
        distilled.distillation_section(query, context),
        distilled.readout_section(query, context),
        evidence.survey_section(query, context),
        forecasts.dynamic_section(query, context),
        rectification.rectification_section(query, context),
        simulated.effects_section(query, context),
        simulated.profiles_section(query, context),
        simulated.interventions_section(query, context),
        workforce.workforce_section(query, context),
        evidence.benchmarks_section(query, context),
        behaviour.behaviour_section(query, context),
        forecasts.drift_section(query, context),
        forecasts.quality_section(query, context),
        gates.gates_section(query, context),
        evidence.failures_section(query, context),
        evidence.limits_section(context),
        evidence.sources_section(context),
        evidence.reproduction_section(context),
    )
    title = "Populace validation report"
    subtitle = f"Run {context.run_id}, {context.created}: simulated people beside surveys, baselines and noise floors."
    return Page(title, subtitle, sections)
