"""Assets of the workforce room: exposure of occupations and skills, and the indices of places."""

from collections.abc import Iterator

import dagster as dg
import polars as pl

from assets.sources.catalogue import open_catalogue
from assets.workforce.exposure import EXPECTED, MAIN_LABELS, NATION, measure_exposure
from orchestration.resources import Platform
from orchestration.table_assets import table_output
from validation.contracts import CONTRACTS

SOURCES = (
    "oews_national_2023",
    "oews_state_2023",
    "onet_skills",
    "gpts_occupation_exposure",
    "aioe_occupation",
)
TABLES = ("occupation_exposure", "skill_exposure", "exposure_index")


@dg.multi_asset(
    name="workforce",
    outs={
        "occupation_exposure": table_output(
            "occupation_exposure", "What share of each occupation's wage pays for skills that AI can perform."
        ),
        "skill_exposure": table_output(
            "skill_exposure", "What share of each skill AI can perform, and of wages the skill earns."
        ),
        "exposure_index": table_output(
            "exposure_index", "Iceberg and Surface Index of the nation and the states, and how they move by definition."
        ),
    },
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def workforce(context: dg.AssetExecutionContext, platform: Platform) -> Iterator[dg.Output[pl.DataFrame]]:
    """Measures exposure where the files are at hand; says what is missing and leaves empty tables where not."""
    catalogue = open_catalogue(platform.settings)
    missing = [name for name in SOURCES if not catalogue.is_available(name)]
    if missing:
        reason = (
            f"No file at hand for {', '.join(missing)}: nothing embedded holds them. "
            "Set POPULACE_DATA_MIRROR to a folder laid out as docs/data.md says."
        )
        context.log.warning(f"Workforce exposure is not measured. {reason}")
        platform.records.write("workforce", {"is_available": False, "reason": reason, "sources": [], "facts": {}})
        for table in TABLES:
            frame = pl.DataFrame(schema=CONTRACTS[table].polars_schema())
            yield dg.Output(frame, output_name=table, metadata={"is_available": False, "reason": reason})
        return
    found = [catalogue.resolve(name) for name in SOURCES]
    tables = measure_exposure(*(source.load() for source in found), seed=platform.recipe.seed)
    uses = [source.record() for source in found]
    platform.records.write(
        "workforce", {"is_available": True, "reason": "", "sources": uses, "facts": dict(tables.facts)}
    )
    main = tables.exposure_index.filter(
        geography=NATION, labelled_by=MAIN_LABELS[0], counts=MAIN_LABELS[1], rule=EXPECTED
    )
    indices = dict(main.select("index_name", "value").iter_rows())
    shared = {"is_available": True, "sources": dg.MetadataValue.json(uses), **tables.facts}
    yield dg.Output(tables.occupation_exposure, output_name="occupation_exposure", metadata=shared)
    yield dg.Output(tables.skill_exposure, output_name="skill_exposure", metadata=shared)
    yield dg.Output(
        tables.exposure_index,
        output_name="exposure_index",
        metadata={**shared, "iceberg_index": indices["iceberg"], "surface_index": indices["surface"]},
    )
