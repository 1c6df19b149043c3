"""The section of the validation report on workforce exposure: indices by definition, places, occupations, skills."""

from assets.evidence.report_context import ReportContext
from validation.report import Block, Query, Section, TextBlock, table_block

INDICES = """
select index_name as index, labelled_by, counts, rule, value, lower, upper, published_value,
       automatable_value_usd / 1e9 as billion_usd, hhi, covered_employment_share
from exposure_index where geography = 'US' order by index_name, labelled_by desc, counts, rule desc
""".strip()

PLACES = """
select geography, value as iceberg_index, lower, upper, hhi, employment
from exposure_index where index_name = 'iceberg' and geography <> 'US' order by value desc, geography limit 10
""".strip()

OCCUPATIONS = """
select title as occupation, automatable_value_usd / 1e9 as billion_usd, automatable_share, lower, upper, skill_match
from occupation_exposure order by automatable_value_usd desc, soc_code limit 10
""".strip()

SKILLS = """
select skill, automatable_share, lower, upper, wage_share from skill_exposure
where upper > 0.01 order by automatable_share desc, skill
""".strip()

AGREEMENT = """
select corr(ours, theirs) as rank_correlation_with_felten, count(*) as occupations
from (select rank() over (order by automatable_share) as ours, rank() over (order by felten_exposure) as theirs
      from occupation_exposure where felten_exposure is not null) ranked
""".strip()


def workforce_section(query: Query, context: ReportContext) -> Section:
    """Exposure of work to AI: none of it comes from a simulation."""
    tables = ("exposure_index", "occupation_exposure", "skill_exposure")
    if not context.has(*tables) or query("select 1 from exposure_index limit 1").is_empty():
        text = (
            "Not measured: no file with wages, skills and exposure labels of occupations is at hand. Set "
            "POPULACE_DATA_MIRROR to a folder that holds them and run again."
        )
        return Section("Workforce exposure", (TextBlock(text, "warning"),))
    blocks: list[Block] = [
        TextBlock(
            "The index is the wage value of the skills that AI can perform over all wage value, for the nation. "
            "Intervals hold the sampling of labelled occupations. The definition moves the index more than the sample "
            "does: read the rows together. The published values use other skills data and weights, so a difference is "
            "no error of either; the interval of ours does not hold them."
        ),
        table_block(query, INDICES, "Iceberg and Surface Index by definition"),
        table_block(query, AGREEMENT, "Agreement of occupations with scores that no fit has seen"),
        table_block(query, PLACES, "The ten states most exposed", {"iceberg_index": "share", "employment": "count"}),
        table_block(query, OCCUPATIONS, "The ten occupations with the largest exposed wage value"),
        table_block(query, SKILLS, "What share of each skill AI can perform, as estimated; the others are at zero"),
    ]
    return Section("Workforce exposure", tuple(blocks))
