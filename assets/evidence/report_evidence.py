"""The sections of the validation report that judge: student, surveys, benchmarks, failures, limits, provenance."""

import re

import polars as pl

from assets.evidence import sql_failures, sql_inputs, sql_standing, sql_surveys
from assets.evidence.report_blocks import MAX_CHARTS, blocks_or_warning
from assets.evidence.report_context import ReportContext
from assets.evidence.survey_shares import choose_wave
from validation.report import (
    Block,
    FactsBlock,
    Link,
    LinksBlock,
    ListBlock,
    Query,
    RecordBlock,
    Section,
    TextBlock,
    chart_block,
    charts,
    table_block,
)

UNUSABLE_PREDICATE = re.compile(r'["$`\\!]|agent_id|household_id')
LIMITS = (
    "Agents are copies of survey respondents: groups that the survey missed are missing here too, and intervals know "
    "only the sampling of donors.",
    "Agreement with a teacher is agreement with that teacher. It becomes evidence about people only through the survey "
    "rows, and those compare states and not the reaction to events.",
    "Survey rows may rest on respondents that the embedded teacher's response models have seen; they test whether "
    "distillation and synthesis kept the survey's answers, not whether new people would answer so.",
    "Ties are generated from published statistics, not observed; contagion in a scenario is an assumption.",
    "Gates against baselines judge a student that knows each agent's first answer. Simulated people are drawn by their "
    "attributes: rows of lsm_simulated tell the accuracy of a simulated individual, and the gates on changes, tails "
    "and 100 timesteps that of simulated shares.",
    "Effects of the run's own scenarios are differences between two simulations, and no experiment checks them. Only "
    "changes among the behaviour benchmarks are held against published experiments, in other scenarios than these.",
)


def student_section(query: Query, context: ReportContext) -> Section:
    """The student against the teacher, the baselines and the noise floor."""
    blocks: list[Block] = []
    if context.has("teacher_agreement"):
        blocks.append(
            TextBlock(
                "TVD, JSD, W1, log loss, ECE and the subgroup gap are better when smaller; tail survival and "
                "treatment-effect agreement when larger; the dispersion ratio is best at one. The noise floor is what "
                "the teacher scores against its own redraws. Student and persistence start from the teacher's own "
                "answer at timestep 0; lsm_unanchored is the student without that answer, and lsm_simulated knows "
                "attributes, ties and events only, as simulations do."
            )
        )
        blocks.append(
            table_block(
                query,
                sql_standing.standing("teacher_agreement", "slice = 'all'"),
                "Held-out answers: the student, the teacher's noise floor and the baselines",
            )
        )
        for metric, title in (("tvd", "Total variation distance"), ("log_loss", "Log loss, nats")):
            blocks.append(
                chart_block(
                    query,
                    sql_standing.model_values(metric, "all"),
                    f"{title} to the teacher on held-out answers; the dashed rule is the noise floor",
                    charts.model_bars,
                    is_half=True,
                )
            )
        blocks.append(
            table_block(
                query,
                sql_standing.standing(
                    "teacher_agreement", "slice <> 'all' and metric in ('tvd', 'treatment_effect_correlation')"
                ),
                "The same by slice",
            )
        )
        blocks.append(
            table_block(
                query,
                sql_standing.CLUSTERS,
                "Reasoning clusters of held-out agents: agreement with the teacher, and its own",
            )
        )
        blocks.append(table_block(query, sql_standing.notes("teacher_agreement", "true"), "Notes on these figures"))
    if context.has("axis_probes"):
        blocks.append(
            table_block(
                query,
                sql_standing.AXES,
                "What the free latent's axes predict, beside the same with the target permuted",
            )
        )
    return Section(
        "Student against teacher", tuple(blocks_or_warning(blocks, context, "teacher_agreement", "axis_probes"))
    )


def survey_section(query: Query, context: ReportContext) -> Section:
    """Simulated shares at timestep 0 against surveys."""
    blocks: list[Block] = []
    if context.has("survey_calibration"):
        blocks.append(
            table_block(
                query,
                sql_standing.standing("survey_calibration", "metric <> 'max_margin_error' and slice like '%/all'"),
                "Whole population, timestep 0: distance to the survey, its sampling error and the baselines",
            )
        )
        if context.has("survey_respondents", "calibrated_respondents", "outcomes", "scenarios"):
            blocks.extend(_calibration_charts(query))
        blocks.append(
            table_block(
                query,
                sql_standing.standing("survey_calibration", "metric = 'tvd' and slice like '%=%' and slice like '%/%'"),
                "The same by segment; groups below 100 respondents are suppressed",
            )
        )
        blocks.append(
            table_block(query, sql_standing.notes("survey_calibration", sql_standing.SHARES), "Notes on these figures")
        )
    return Section("Survey calibration", tuple(blocks_or_warning(blocks, context, "survey_calibration")))


def benchmarks_section(query: Query, context: ReportContext) -> Section:
    """Published figures that were declared beforehand."""
    blocks: list[Block] = []
    if context.has("benchmark_scores"):
        blocks.append(
            table_block(
                query, sql_standing.BENCHMARKS, "Published figures; targets and tolerances were declared beforehand"
            )
        )
    return Section("Benchmarks", tuple(blocks_or_warning(blocks, context, "benchmark_scores")))


def failures_section(query: Query, context: ReportContext) -> Section:
    """Every figure that loses or falls short."""
    tables = tuple(name for name in sql_failures.EVIDENCE_TABLES if context.has(name))
    if not tables:
        return Section(
            "Where it fails", (TextBlock("No evidence table exists yet, so nothing could fail.", "warning"),)
        )
    losing = table_block(
        query, sql_failures.losing_rows(tables), "Every figure that loses to a baseline or misses its target"
    )
    failed = context.student.failed_gates
    num_figures = query(sql_failures.standing_counts(tables))["loses_or_falls_short"].sum()
    text = (
        f"{num_figures:,} figures lose to a baseline or fall short of a published figure, in {len(losing.frame)} rows. "
        "Survey figures of one question and metric share a row that names the groups; the section on survey "
        "calibration has each of them. Figures of simulated people share one by metric that names the slices: of an "
        "agent these people know what a regression on its attributes knows, and are compared with that and with equal "
        "chances."
    )
    if failed:
        text += f" The student failed the gates {', '.join(failed)}."
    return Section("Where it fails", (TextBlock(text), losing))


def limits_section(context: ReportContext) -> Section:
    """What the reader must not conclude."""
    return Section("Known limits", (ListBlock((*LIMITS, *context.limits)),))


def sources_section(context: ReportContext) -> Section:
    """Data, owners and licences."""
    rows = pl.DataFrame(
        [
            {
                "source": use.name,
                "title": use.title,
                "owner": use.owner,
                "licence": use.licence,
                "origin": use.origin,
                "sha256": use.sha256[:16],
                "citation": use.citation,
            }
            for use in context.data_uses
        ],
        schema=dict.fromkeys(("source", "title", "owner", "licence", "origin", "sha256", "citation"), pl.String),
    ).unique(maintain_order=True)
    block = RecordBlock(
        rows, "Data that entered this run", "From the data catalogue; digests are cut to 16 characters."
    )
    return Section("Data sources", (block,))


def reproduction_section(context: ReportContext) -> Section:
    """What is needed to make this page again."""
    tables = pl.DataFrame(
        [
            {"table": each.table, "version": str(each.version), "rows": each.num_rows, "digest": each.digest[:16]}
            for each in context.tables
        ],
        schema={"table": pl.String, "version": pl.String, "rows": pl.Int64, "digest": pl.String},
    )
    packages = pl.DataFrame(
        {"package": list(context.package_versions), "version": list(context.package_versions.values())},
        schema={"package": pl.String, "version": pl.String},
    )
    facts = {"git commit": context.git_commit or "not in a git checkout"}
    facts |= {f"recipe: {name.replace('_', ' ')}": str(value) for name, value in context.recipe.items()}
    facts |= {f"seed: {name.replace('_', ' ')}": str(value) for name, value in context.seeds.items()}
    facts |= {f"machine: {name}": value for name, value in context.machine.items()}
    blocks: list[Block] = [
        FactsBlock(facts),
        TextBlock("Commands:"),
        ListBlock(context.commands),
        RecordBlock(tables, "Tables that this page read", "From the Delta logs; digests are cut to 16 characters."),
        RecordBlock(packages, "Packages", "Versions installed when this page was built."),
    ]
    if context.links:
        blocks.append(LinksBlock(tuple(Link(label, address) for label, address in context.links)))
    return Section("Reproduction", tuple(blocks))


def _calibration_charts(query: Query) -> list[Block]:
    """One scatter per question with a survey item; scenarios that ask the same item start alike and share a chart."""
    blocks: list[Block] = []
    seen: set[tuple[str, str | None]] = set()
    columns = query("select * from survey_respondents limit 0").columns
    for row in query(sql_inputs.QUESTIONS).iter_rows(named=True):
        item, where = row["item"], row["population_where"]
        key = (item, where)
        if item is None or key in seen or f"item_{item}" not in columns or len(blocks) >= MAX_CHARTS:
            continue
        if where and UNUSABLE_PREDICATE.search(where):
            continue
        seen.add(key)
        block = _calibration_chart(query, row)
        if block is not None:
            blocks.append(block)
    return blocks


def _calibration_chart(query: Query, row: dict) -> Block | None:
    waves = query(sql_surveys.item_waves(row["item"]))
    if waves.is_empty():
        return None
    wave, _ = choose_wave(waves)
    statement = sql_surveys.survey_against_agents(
        row["scenario_id"], row["question_id"], row["item"], wave.survey, wave.year, row["population_where"]
    )
    item = row["item"].replace("_", " ")
    title = f"{item}: agents of {row['scenario_id']} at timestep 0 against {wave.survey} {wave.year}"
    block = chart_block(query, statement, title, charts.calibration_scatter, is_half=True)
    return None if block.frame.is_empty() else block
