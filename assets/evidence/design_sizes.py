"""Effective sample sizes of many cells of a survey at once, under its strata, clusters and weights.

`validation.survey_design` states the same for one cell; a test holds the two equal.
"""

import polars as pl


def effective_sizes(rows: pl.DataFrame, cells: pl.DataFrame, num_options: int) -> pl.Series:
    """Effective sample size of each cell (`_level` × `wave`): by strata and clusters where every respondent of the wave
    has them, by Kish's design effect of the weights elsewhere.

    Args:
        rows: respondents with `_level`, `wave`, `weight`, `_held_<option>` (weight × indicator), and with `stratum` and
            `psu` where the survey has them.
        cells: a row per cell with the sums of `weight`, `_squared` and `_held_<option>`.
        num_options: number of options.

    Source: `validation.survey_design.linearised_variance` and `effective_size`, for all cells at once.
    """
    kish = (cells["weight"] ** 2 / cells["_squared"]).alias("_kish")
    if not {"stratum", "psu"} <= {*rows.columns}:
        return kish
    names = [f"_held_{i}" for i in range(num_options)]
    totals = cells.select(
        "_level", "wave", pl.col("weight").alias("_total"), *(pl.col(n).alias(f"{n}_sum") for n in names)
    )
    num_psus = rows.group_by("wave", "stratum").agg(pl.struct("psu").n_unique().alias("_psus"))
    gaps = [
        ((pl.col(n) - pl.col("weight") * pl.col(f"{n}_sum") / pl.col("_total")) / pl.col("_total")).alias(n)
        for n in names
    ]
    by_psu = (
        rows.filter(pl.col("_level").is_not_null())
        .join(totals, on=["_level", "wave"], how="inner")
        .with_columns(gaps)
        .group_by("_level", "wave", "stratum", "psu")
        .agg(pl.col(names).sum())
    )
    by_stratum = by_psu.group_by("_level", "wave", "stratum").agg(
        *(pl.col(n).sum().alias(f"{n}_sum") for n in names), *((pl.col(n) ** 2).sum() for n in names)
    ).join(num_psus, on=["wave", "stratum"], how="left")  # fmt: skip
    psus = pl.col("_psus")
    parts = [
        pl.when(psus > 1).then(psus / (psus - 1) * (pl.col(n) - pl.col(f"{n}_sum") ** 2 / psus)).otherwise(pl.col(n))
        for n in names
    ]
    variance = by_stratum.group_by("_level", "wave").agg(pl.sum_horizontal(parts).sum().alias("_variance"))
    is_designed = rows.group_by("wave").agg(
        (pl.col("stratum").is_not_null() & pl.col("psu").is_not_null()).all().alias("_is_designed")
    )
    shares = [pl.col(n) / pl.col("weight") for n in names]
    joined = cells.join(variance, on=["_level", "wave"], how="left", maintain_order="left").join(
        is_designed, on="wave", how="left", maintain_order="left"
    )
    design = pl.sum_horizontal([share * (1 - share) for share in shares]) / pl.col("_variance")
    chosen = pl.when(pl.col("_is_designed") & (pl.col("_variance") > 1e-15)).then(design).otherwise(kish)
    return joined.select(chosen.alias("_effective_size")).to_series()
