"""Assets of the population room: respondents, margins, calibrated weights, agents in households, and their quality."""

from collections.abc import Iterator

import altair as alt
import dagster as dg
import polars as pl

from assets.population.calibration import calibrate_respondents
from assets.population.counties import COUNTY_SOURCE, county_shares
from assets.population.diagnostics import calibration_diagnostics
from assets.population.disclosure import disclosure_rows
from assets.population.imputation_quality import imputation_quality_rows
from assets.population.joint_structure import joint_structure_rows
from assets.population.laying import compare_with_margins
from assets.population.margins import load_margins
from assets.population.planning import plan_from_tables
from assets.population.population_file import PopulationFile, read_population_file
from assets.population.second_survey import second_respondents
from assets.population.seed_survey import as_answered, seed_respondents
from assets.population.surveys import load_respondents, surveys_to_load
from assets.population.synthesis import make_population
from assets.sources.catalogue import DataCatalogue, ResolvedSource, open_catalogue
from orchestration.resources import Platform
from orchestration.settings import Settings
from orchestration.table_assets import plot, table_options, table_output
from validation.report.charts import plot_png


def population_file_in_use(settings: Settings) -> PopulationFile:
    """The population file that the settings name, with the seed survey that they name."""
    return read_population_file(settings.population_file, settings.seed_survey)


def sources_in_use(catalogue: DataCatalogue, file: PopulationFile) -> list[ResolvedSource]:
    """The file of every survey that has one, and of the margins, as a run would use them now."""
    margins = dict.fromkeys(wanted.source for wanted in file.margins)
    return [catalogue.resolve(name) for name in (*surveys_to_load(catalogue, file), *margins)]


@dg.asset(
    **table_options("survey_respondents"),
    description="Respondents of every survey at hand, harmonised by codebook: attributes, items, design weights.",
)
def survey_respondents(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Loads the surveys and says which file each came from."""
    catalogue, file = open_catalogue(platform.settings), population_file_in_use(platform.settings)
    respondents = load_respondents(catalogue, surveys_to_load(catalogue, file))
    for use in respondents.uses:
        context.log.info(f"{use['title']}: {use['num_respondents']:,} respondents from the {use['origin']} source")
    platform.records.write("data_sources", {"surveys": list(respondents.uses)})
    return dg.Output(
        respondents.frame,
        metadata={
            "sources": dg.MetadataValue.json([dict(use) for use in respondents.uses]),
            "num_items": len(respondents.items),
        },
    )


@dg.asset(
    **table_options("population_margins"),
    description="Published totals of US adults to which the seed survey is calibrated, with a source per row.",
)
def population_margins(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Loads the margins and checks that they agree."""
    file = population_file_in_use(platform.settings)
    margins = load_margins(open_catalogue(platform.settings), file.margins)
    for use in margins.uses:
        context.log.info(f"{use['title']}: from the {use['origin']} source")
    platform.records.write("margin_sources", {"margins": list(margins.uses)})
    return dg.Output(
        margins.frame,
        metadata={
            "sources": dg.MetadataValue.json([dict(use) for use in margins.uses]),
            "num_geographies": margins.frame["geography"].n_unique(),
        },
    )


@dg.multi_asset(
    name="calibrated_respondents",
    outs={
        "calibrated_respondents": table_output(
            "calibrated_respondents",
            "The seed survey calibrated on the margins: design and calibrated weights.",
        ),
        "calibration_diagnostics": table_output(
            "calibration_diagnostics",
            "What calibration did: errors, design effect, weights, thin cells, standard errors from replicate weights.",
        ),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def calibrated_respondents(
    context: dg.AssetExecutionContext,
    platform: Platform,
    survey_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Calibrates the design weights and says what that did."""
    file = population_file_in_use(platform.settings)
    calibration = calibrate_respondents(survey_respondents, population_margins, file)
    facts = calibration.diagnostics.as_dict()
    for name in ("num_outside_universe", "num_left_out", "num_imputed"):
        if facts[name]:
            context.log.warning(f"{name}: {facts[name]:,} respondents of {file.seed_survey}")
    platform.records.write("calibration", facts)
    relative = calibration.frame.select(
        relative_weight=pl.col("calibrated_weight") / pl.col("calibrated_weight").mean()
    ).sample(min(5_000, calibration.frame.height), seed=0)
    chart = (
        alt.Chart(relative.to_pandas(), title="calibrated weight relative to its mean")
        .mark_bar()
        .encode(x=alt.X("relative_weight", bin=alt.Bin(maxbins=50)), y="count()")
        .properties(width=420, height=220)
    )
    yield dg.Output(
        calibration.frame,
        output_name="calibrated_respondents",
        metadata={
            "design_effect": facts["design_effect_after"],
            "effective_sample_size": facts["effective_sample_size"],
            "max_margin_error": facts["max_margin_error_after"],
            "diagnostics": dg.MetadataValue.json(facts),
            "plot": plot(plot_png(chart.to_dict())),
        },
    )
    rows = calibration_diagnostics(calibration.seed, calibration.frame, population_margins, file, platform.recipe.seed)
    largest_error = rows.filter(pl.col("metric") == "standard_error")["value"].to_numpy().max()
    yield dg.Output(
        rows,
        output_name="calibration_diagnostics",
        metadata={"largest_standard_error": float(largest_error)},
    )


@dg.multi_asset(
    name="agents",
    outs={
        "agents": table_output(
            "agents", "The synthetic population: integer agents drawn from the calibrated respondents, in households."
        ),
        "households": table_output(
            "households", "Households of the agents: adults, children and elders, kind, county where votes are at hand."
        ),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def agents(
    context: dg.AssetExecutionContext,
    platform: Platform,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Synthesises as many agents as the recipe asks for."""
    recipe, file = platform.recipe, population_file_in_use(platform.settings)
    catalogue = open_catalogue(platform.settings)
    counties = None
    if file.counties and catalogue.is_available(COUNTY_SOURCE):
        counties = county_shares(catalogue.resolve(COUNTY_SOURCE).load())
    else:
        context.log.warning(f"Households have no county: {COUNTY_SOURCE} is not at hand, or not wanted.")
    plan = plan_from_tables(
        survey_respondents,
        calibrated_respondents,
        population_margins,
        recipe.num_agents,
        recipe.seed,
        file,
        counties,
    )
    made = make_population(plan)
    compared = compare_with_margins(made.agents, population_margins)
    gap = compared.select((pl.col("found") - pl.col("target")).abs().max()).item()
    yield dg.Output(
        made.agents,
        output_name="agents",
        metadata={
            "num_agents": made.agents.height,
            "num_shards": len(plan.shards),
            "num_households": made.households.height,
            "num_donors": made.agents["respondent_id"].n_unique(),
            "max_margin_gap": compared.select(pl.col("difference").abs().max()).item(),
            "max_margin_gap_agents": gap,
        },
    )
    yield dg.Output(
        made.households,
        output_name="households",
        metadata={
            "num_children": int(made.households["num_children"].sum()),
            "share_with_children": float((made.households["num_children"].to_numpy() > 0).mean()),
            "share_with_county": 1 - made.households["county_fips"].null_count() / made.households.height,
        },
    )


@dg.multi_asset(
    name="population_quality",
    outs={
        "imputation_quality": table_output(
            "imputation_quality", "How well each imputed attribute is predicted by the model that filled it."
        ),
        "joint_structure": table_output(
            "joint_structure", "Association of every pair of attributes: agents against the survey, raked or not."
        ),
        "disclosure": table_output(
            "disclosure",
            "How well agents point at respondents: uniqueness, copies, distance to the nearest one.",
        ),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def population_quality(
    platform: Platform,
    survey_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    agents: pl.DataFrame,
) -> Iterator[dg.Output[pl.DataFrame]]:
    """Reads the agents back against the survey."""
    file, seed = population_file_in_use(platform.settings), platform.recipe.seed
    names = tuple(population_margins["margin"].unique(maintain_order=True))
    donors = as_answered(seed_respondents(survey_respondents, names, file).frame).join(
        calibrated_respondents.select("respondent_id", "calibrated_weight"), on="respondent_id", maintain_order="left"
    )
    second = second_respondents(survey_respondents, population_margins, file)
    quality = imputation_quality_rows(agents, donors, second, file, seed)
    joint = joint_structure_rows(agents, donors, calibrated_respondents, population_margins, seed)
    disclosure = disclosure_rows(agents, donors, seed)
    within = float(joint["is_within_sampling_error"].to_numpy().mean())
    copies = disclosure.filter(pl.col("metric") == "share_copies")["value"].item()
    yield dg.Output(quality, output_name="imputation_quality", metadata={"num_attributes": quality.height})
    yield dg.Output(joint, output_name="joint_structure", metadata={"share_within_sampling_error": within})
    yield dg.Output(disclosure, output_name="disclosure", metadata={"share_copies": copies})
