"""The section of the report on recorded models and the student against the weighted survey, and against each other."""

from assets.evidence.report_blocks import no_recordings
from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, table_block

MEANS = """
with best as (
  select scenario_id, metric, min(value) filter (where role = 'baseline' and model <> 'uniform') as lowest
  from recorded_calibration where question_id = 'all' and reference = 'survey' group by scenario_id, metric
)
select metric, model, role, value, lower, upper, noise_floor, num_observations as questions,
       case when role = 'baseline' or is_higher_better is null then ''
            when lower > lowest then 'loses to the best baseline'
            when upper < lowest then 'beats the best baseline' else 'as the best baseline' end as verdict
from recorded_calibration join best using (scenario_id, metric)
where question_id = 'all' and reference = 'survey' order by scenario_id, metric, role desc, value, model
""".strip()

AGAINST_MODELS = """
select ours.metric, ours.reference as recorded_model, ours.value as student, ours.lower, ours.upper, ours.noise_floor,
       bare.value as student_without_graph, people.value as student_to_the_survey,
       theirs.value as recorded_model_to_the_survey, ours.num_observations as questions
from recorded_calibration ours
left join recorded_calibration bare on bare.question_id = 'all' and bare.model = 'student_no_graph'
  and bare.scenario_id = ours.scenario_id and bare.metric = ours.metric and bare.reference = ours.reference
left join recorded_calibration people on people.question_id = 'all' and people.model = 'student'
  and people.scenario_id = ours.scenario_id and people.metric = ours.metric and people.reference = 'survey'
left join recorded_calibration theirs on theirs.question_id = 'all' and theirs.model = ours.reference
  and theirs.scenario_id = ours.scenario_id and theirs.metric = ours.metric and theirs.reference = 'survey'
where ours.question_id = 'all' and ours.model = 'student' and ours.reference <> 'survey'
order by ours.scenario_id, ours.metric, ours.reference
""".strip()

ITEMS = """
select question_id as question, max(num_observations) as respondents, max(noise_floor) as noise_floor,
       min(value) filter (where role = 'teacher') as nearest_recorded_model,
       max(value) filter (where role = 'teacher') as furthest_recorded_model,
       max(value) filter (where model = 'student') as student,
       max(value) filter (where model = 'same_people') as same_people,
       max(value) filter (where model = 'earlier_wave') as earlier_wave,
       max(value) filter (where model = 'uniform') as uniform
from recorded_calibration where reference = 'survey' and metric = 'tvd' and question_id <> 'all'
group by scenario_id, question_id order by scenario_id, question_id
""".strip()


def recorded_survey_section(query: Query, context: ReportContext) -> Section:
    """Recorded models and student against everybody whom the survey asked; says so where no recording is at hand."""
    title = "Recorded language models and the student beside the weighted survey"
    if not context.has("recorded_calibration") or query("select 1 from recorded_calibration limit 1").is_empty():
        return no_recordings(title)
    blocks: list[Block] = [
        TextBlock(
            "The weighted answers of each recorded model's personas beside the weighted answers of everybody whom the "
            "survey asked. The student's agents were asked the same questions at rest; no question was in training, so "
            "questions are held out, and the agents stand for the year that they were calibrated to. The noise floor "
            "is what a resample of the reference's effective size (Kish) scores; the file names neither strata nor "
            "clusters. Baselines: the personas' own people, the last earlier wave where a loaded survey has one "
            "(on fewer questions), equal chances."
        ),
        table_block(
            query, MEANS, "Distance to the weighted survey, mean over questions of equal wording",
            {"questions": "count"},
        ),
        table_block(
            query, AGAINST_MODELS, "The student against every recorded model, and both against the survey",
            {"questions": "count"},
        ),
        table_block(query, ITEMS, "Total variation distance to the weighted survey, by question"),
    ]  # fmt: skip
    return Section(title, tuple(blocks))
