"""The section of the validation report on interventions whose outcome was published."""

from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, table_block

SCORE_CARD = """
select model, count(*) as cases, count(*) filter (where verdict = 'within') as within,
       count(*) filter (where quantity = 'share' and verdict = 'within') as shares_within,
       count(*) filter (where quantity = 'change' and verdict = 'within') as changes_within,
       avg(miss) as mean_miss, count(*) filter (where is_leakage_risk) as leakage_risks
from behaviour_scores group by model order by within desc, mean_miss, model
""".strip()

CASES = """
select ours.scenario_id as scenario, ours.option, ours.quantity, ours.value, ours.lower, ours.upper,
       ours.target_low, ours.target_high, ours.verdict, ours.without_events,
       bare.value as without_graph, ours.is_approximate as approximate, ours.is_leakage_risk as leakage_risk
from behaviour_scores ours
left join behaviour_scores bare on bare.scenario_id = ours.scenario_id and bare.model = 'lsm_no_graph'
where ours.model = 'lsm' order by ours.quantity, ours.scenario_id
""".strip()

SOURCES = """
select distinct scenario_id as scenario, published as year, source, mapping from behaviour_scores order by scenario_id
""".strip()


def behaviour_section(query: Query, context: ReportContext) -> Section:
    """The student on real interventions: how many outcomes fall into the range declared beforehand."""
    title = "Behaviour benchmarks"
    if not context.has("behaviour_scores") or query("select 1 from behaviour_scores limit 1").is_empty():
        text = "Not scored: no scenario file lies in the folder benchmarks beside the scenarios of this run."
        return Section(title, (TextBlock(text, "warning"),))
    blocks: list[Block] = [
        TextBlock(
            "Each case is an intervention with a published outcome. Target range, source and mapping were declared "
            "before any simulation, and nothing is trained on these scenarios or their questions: the student meets "
            "both for the first time, and does not read texts unlike those of its training. The naive answers are "
            "equal chances for shares and no effect for changes; a student that is not ahead of them knows nothing "
            "about behaviour. Leakage risk marks a student whose teacher can have read of the outcome; the embedded "
            "teacher cannot."
        ),
        table_block(query, SCORE_CARD, "Score card by model; naive answers cover one kind of quantity each"),
        table_block(query, CASES, "Every case: the student, the range declared beforehand, and the verdict"),
        table_block(query, SOURCES, "Sources of the outcomes and what stands for them", {"year": "text"}),
    ]
    return Section(title, tuple(blocks))
