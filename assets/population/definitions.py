"""Assets of the population room: respondents, margins, calibrated weights, agents."""

import altair as alt
import dagster as dg
import polars as pl

from assets.population.calibration import calibrate_respondents
from assets.population.margins import MARGINS_SOURCE, compare_with_margins, load_margins
from assets.population.surveys import load_respondents
from assets.population.synthesis import synthesise_agents
from assets.sources.catalogue import DataCatalogue, ResolvedSource, open_catalogue
from orchestration.resources import Platform
from orchestration.table_assets import plot, table_options
from validation.report.charts import plot_png


def sources_in_use(catalogue: DataCatalogue) -> list[ResolvedSource]:
    """The file of every survey that has one, and of the margins, as a run would use them now."""
    return [catalogue.resolve(name) for name in (*catalogue.available_surveys(), MARGINS_SOURCE)]


@dg.asset(
    **table_options("survey_respondents"),
    description="Respondents of every survey at hand, harmonised by codebook: attributes, items, design weights.",
)
def survey_respondents(context: dg.AssetExecutionContext, platform: Platform) -> dg.Output[pl.DataFrame]:
    """Loads the surveys and says which file each came from."""
    respondents = load_respondents(open_catalogue(platform.settings))
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
    margins = load_margins(open_catalogue(platform.settings))
    for use in margins.uses:
        context.log.info(f"{use['title']}: from the {use['origin']} source")
    platform.records.write("margin_sources", {"margins": list(margins.uses)})
    return dg.Output(margins.frame, metadata={"sources": dg.MetadataValue.json([dict(use) for use in margins.uses])})


@dg.asset(
    **table_options("calibrated_respondents", kinds=("numpy",)),
    description="The seed survey raked to the margins, with design effect and effective sample size.",
)
def calibrated_respondents(
    platform: Platform, survey_respondents: pl.DataFrame, population_margins: pl.DataFrame
) -> dg.Output[pl.DataFrame]:
    """Rakes the design weights."""
    calibration = calibrate_respondents(survey_respondents, population_margins)
    facts = calibration.diagnostics.as_dict()
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
    return dg.Output(
        calibration.frame,
        metadata={
            "design_effect": facts["design_effect_after"],
            "effective_sample_size": facts["effective_sample_size"],
            "max_margin_error": facts["max_margin_error_after"],
            "diagnostics": dg.MetadataValue.json(facts),
            "plot": plot(plot_png(chart.to_dict())),
        },
    )


@dg.asset(
    **table_options("agents", kinds=("numpy",)),
    description="The synthetic population: integer agents drawn from the calibrated respondents, in households.",
)
def agents(
    platform: Platform,
    survey_respondents: pl.DataFrame,
    calibrated_respondents: pl.DataFrame,
    population_margins: pl.DataFrame,
) -> dg.Output[pl.DataFrame]:
    """Synthesises as many agents as the recipe asks for."""
    recipe = platform.recipe
    people = synthesise_agents(
        survey_respondents, calibrated_respondents, population_margins, recipe.num_agents, recipe.seed
    )
    compared = compare_with_margins(people, population_margins)
    return dg.Output(
        people,
        metadata={
            "num_agents": people.height,
            "num_households": people["household_id"].n_unique(),
            "num_donors": people["respondent_id"].n_unique(),
            "max_margin_gap": compared.select(pl.col("difference").abs().max()).item(),
        },
    )
