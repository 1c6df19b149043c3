"""The section of the validation report on recorded answers: LLMs beside the people they were asked to be."""

from assets.evidence.report_blocks import no_recordings
from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, chart_block, table_block
from validation.report.charts import distance_matrix

MEANS = """
with best as (
  select scenario_id, metric, min(value) filter (where role = 'baseline' and model <> 'uniform') as lowest
  from recorded_agreement where question_id = 'all' group by scenario_id, metric
)
select metric, model, value, lower, upper, noise_floor, num_observations as questions,
       case when role = 'baseline' or is_higher_better is null or is_higher_better then ''
            when lower > lowest then 'loses to the best baseline'
            when upper < lowest then 'beats the best baseline' else 'as the best baseline' end as verdict
from recorded_agreement join best using (scenario_id, metric)
where question_id = 'all' order by scenario_id, metric, role desc, value
""".strip()

MATRIX = """
select question_id as question, model, value as tvd, lower, upper, noise_floor
from recorded_agreement where metric = 'tvd' and question_id <> 'all' order by question_id, model
""".strip()

ITEMS = """
select question_id as question, model, any_value(num_observations) as people,
       max(value) filter (where metric = 'tvd') as tvd, max(lower) filter (where metric = 'tvd') as tvd_lower,
       max(upper) filter (where metric = 'tvd') as tvd_upper,
       max(noise_floor) filter (where metric = 'tvd') as tvd_noise_floor,
       max(value) filter (where metric = 'dispersion_ratio') as dispersion,
       max(value) filter (where metric = 'tail_survival') as tail_survival,
       max(value) filter (where metric = 'same_answer') as same_answer,
       coalesce(any_value(note) filter (where metric = 'tvd'), '') as note
from recorded_agreement where question_id <> 'all' and role = 'teacher'
group by scenario_id, question_id, model order by question_id, tvd
""".strip()

EMPTY = "select 1 from recorded_agreement limit 1"


def recorded_section(query: Query, context: ReportContext) -> Section:
    """Recorded LLMs against people; says so where no recording is at hand."""
    title = "Recorded language models beside people"
    if not context.has("recorded_agreement") or query(EMPTY).is_empty():
        return no_recordings(title)
    blocks: list[Block] = [
        TextBlock(
            "Each model answered survey questions as personas written from real respondents. Its answers stand beside "
            "those of the same people. Other respondents are the people of the survey who were no persona, the "
            "regression knows the attributes of the persona and was fitted on half of these others. The noise floor is "
            "what as many resampled people score against themselves. Dispersion below one means that the model's "
            "people are too much alike. Nothing here was answered by the embedded teacher."
        ),
        table_block(
            query,
            MEANS,
            "Recorded models and baselines, mean over the questions of equal wording",
            {"questions": "count"},
        ),
        chart_block(query, MATRIX, "Total variation distance to the people, by question", distance_matrix),
        table_block(query, ITEMS, "Distances of every recorded model by question"),
    ]
    return Section(title, tuple(blocks))
