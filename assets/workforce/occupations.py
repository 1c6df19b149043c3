"""Employment and wages by occupation, and the skills of each occupation, from published tables."""

import polars as pl

from validation.attributes import REGION_OF_STATE

NATION = "US"
TECHNOLOGY_GROUP = "15-"
"""SOC major group 15, computer and mathematical occupations."""

WAGE_COLUMNS = ("geography", "soc_code", "title", "employment", "mean_wage_usd", "is_wage_imputed")


class WorkforceError(ValueError):
    """A workforce file cannot be used; the message names the file, what was found and what is needed."""


def read_wages(national: pl.DataFrame, state: pl.DataFrame) -> pl.DataFrame:
    """Employment and mean annual wage of every detailed occupation, for the nation and each state.

    Wages that a state does not publish are filled with the nation's mean wage of the occupation and marked; occupations
    whose employment is not published are left out, as are the outlying areas.

    Args:
        national: OEWS national table; figures are text with thousands separators, `*`, `**` and `#` mark no figure.
        state: OEWS state table; figures are numbers, null where not published.

    Returns:
        One row per geography × occupation: geography (US or a postal code), soc_code, title, employment (jobs),
        mean_wage_usd (per year), is_wage_imputed.

    Raises:
        WorkforceError: a needed column is missing.
    """
    _need(national, "oews_national_2023", ("OCC_CODE", "OCC_TITLE", "O_GROUP", "TOT_EMP", "A_MEAN"))
    _need(state, "oews_state_2023", ("PRIM_STATE", "OCC_CODE", "OCC_TITLE", "O_GROUP", "TOT_EMP", "A_MEAN"))
    nation = national.filter(pl.col("O_GROUP") == "detailed").select(
        geography=pl.lit(NATION),
        soc_code="OCC_CODE",
        title="OCC_TITLE",
        employment=_number("TOT_EMP"),
        mean_wage_usd=_number("A_MEAN"),
    )
    # Five occupations (actors, dancers, musicians …) publish hourly wages only: no annual figure, so no wage value.
    nation = nation.drop_nulls(["employment", "mean_wage_usd"])
    states = state.filter(pl.col("O_GROUP") == "detailed", pl.col("PRIM_STATE").is_in(list(REGION_OF_STATE))).select(
        geography="PRIM_STATE",
        soc_code="OCC_CODE",
        title="OCC_TITLE",
        employment=pl.col("TOT_EMP").cast(pl.Float64),
        mean_wage_usd=pl.col("A_MEAN").cast(pl.Float64),
    )
    nations_wage = nation.select("soc_code", nations_wage_usd="mean_wage_usd")
    return (
        pl.concat([nation, states.drop_nulls(["employment"])])
        .join(nations_wage, on="soc_code", how="left")
        .with_columns(
            is_wage_imputed=pl.col("mean_wage_usd").is_null(),
            mean_wage_usd=pl.coalesce("mean_wage_usd", "nations_wage_usd"),
        )
        .drop_nulls(["mean_wage_usd"])
        .select(WAGE_COLUMNS)
        .sort("geography", "soc_code")
    )


def skill_weights(skills: pl.DataFrame) -> pl.DataFrame:
    """How an occupation's work is spread over skills: importance times level, normalised to one.

    weight(o, s) = I·L / Σ I·L with importance I = (IM − 1)/4 and level L = LV/7, both on [0, 1]; occupations of O*NET
    that share a six-digit SOC code are averaged first.

    Args:
        skills: O*NET skill ratings, one row per occupation × skill × scale (IM importance 1–5, LV level 0–7).

    Returns:
        One row per soc_code × skill with `weight`; the weights of an occupation sum to one.

    Raises:
        WorkforceError: a needed column is missing.

    Source: O*NET content model, scales IM and LV; the product of both as the amount of a skill that work takes.
    """
    _need(skills, "onet_skills", ("O*NET-SOC Code", "Element Name", "Scale ID", "Data Value"))
    amount = (
        skills.select(
            onet_code="O*NET-SOC Code", skill="Element Name", scale="Scale ID", value=pl.col("Data Value").cast(float)
        )
        .pivot(on="scale", index=["onet_code", "skill"], values="value")
        .select(
            pl.col("onet_code").str.slice(0, 7).alias("soc_code"),
            "skill",
            amount=((pl.col("IM") - 1) / 4) * (pl.col("LV") / 7),
        )
        .group_by("soc_code", "skill")
        .agg(pl.col("amount").mean())
    )
    return amount.select("soc_code", "skill", weight=pl.col("amount") / pl.col("amount").sum().over("soc_code")).sort(
        "soc_code", "skill"
    )


def match_codes(wanted: pl.DataFrame, known: pl.Series) -> pl.DataFrame:
    """For each occupation with wages, the occupations with ratings that describe it.

    An exact code where there is one; otherwise every rated occupation of the same broad group (first six characters,
    such as 31-112 for 31-1120), because wage tables merge detailed codes that the ratings keep apart.

    Args:
        wanted: one column, soc_code.
        known: codes that have ratings.

    Returns:
        soc_code, rated_code and `match` (exact or broad); occupations without any are absent.
    """
    rated = known.unique().sort().to_frame("rated_code")
    exact = wanted.join(rated, left_on="soc_code", right_on="rated_code", how="semi").select(
        "soc_code", rated_code="soc_code", match=pl.lit("exact")
    )
    rest = wanted.join(exact, on="soc_code", how="anti").with_columns(group=pl.col("soc_code").str.slice(0, 6))
    broad = rest.join(rated.with_columns(group=pl.col("rated_code").str.slice(0, 6)), on="group").select(
        "soc_code", "rated_code", match=pl.lit("broad")
    )
    return pl.concat([exact, broad]).sort("soc_code", "rated_code")


def _number(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.String).str.replace_all(",", "").cast(pl.Float64, strict=False)


def _need(frame: pl.DataFrame, source: str, columns: tuple[str, ...]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing:
        raise WorkforceError(
            f"Source {source} has no column {', '.join(missing)}. Found: {', '.join(frame.columns)}. "
            "Use the file that docs/data.md names."
        )
