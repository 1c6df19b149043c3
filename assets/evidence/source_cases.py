"""The forecast cases that ship, from the surveys in the lineage and from extracts of the data catalogue.

Where a source has no file at hand the case is absent, and the reason is returned for the log and the report.

Legend: T times, O options.
"""

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from assets.evidence.forecast_case import ForecastCase, Series, split_series
from assets.evidence.survey_series import trend_cases
from assets.sources.catalogue import DataCatalogue

SURVEY_SPLITS = (1988, 1998, 2008)
YEARS_AFTER = 10
SURVEY_OF_TREND = "gss_abortion"
TREND_SOURCE = "gss_trend_1972_2024"
POLLS_SOURCE, UPTAKE_SOURCE, VOTES_SOURCE = (
    "pandemic_approval_polls",
    "vaccine_state_daily",
    "county_president_2016_2024",
)
TREND_SCORES = {
    "item_women_at_home": ("strongly_disagree", "disagree", "agree", "strongly_agree"),
    "item_own_ideology": ("extremely_liberal", "liberal", "slightly_liberal", "moderate", "slightly_conservative",
                          "conservative", "extremely_conservative"),
    "item_no_religion": ("yes", "no"),
}  # fmt: skip
DAYS_PER_STEP = 14
MIN_POLLS = 3
"""Polls of a party in a fortnight below which the fortnight is left out."""

MAX_EFFECTIVE_POLL = 3_000.0
"""Polls of one fortnight share errors (mode, population, wording) that do not average out; their size is capped."""


def survey_trend_cases(survey_respondents: pl.DataFrame, *, num_splits: int, seed: int) -> list[ForecastCase]:
    """Cases from the long survey series that the lineage has loaded; empty where no survey has enough waves."""
    rows = survey_respondents.filter(pl.col("survey") == SURVEY_OF_TREND)
    if rows["wave"].n_unique() < 8:
        return []
    items = [name for name in rows.columns if name.startswith("item_") and rows[name].null_count() < rows.height]
    return trend_cases(
        rows.rename({"design_weight": "weight"}),
        sorted(items),
        name=SURVEY_OF_TREND,
        title="General Social Survey, legal abortion",
        note="GSS 1972-2018, repeated cross-sections; the extract has no weights, so every respondent weighs 1",
        splits=SURVEY_SPLITS[-num_splits:],
        years_after=YEARS_AFTER,
        seed=seed,
    )


def extract_trend_cases(catalogue: DataCatalogue, *, seed: int) -> list[ForecastCase]:
    """Cases from the GSS trend extract: gender roles, ideology and no religion, with weights, to 2024."""
    raw = catalogue.resolve(TREND_SOURCE).load()
    return trend_cases(
        harmonise_trend(raw),
        list(TREND_SCORES),
        name="gss_trend",
        title="General Social Survey, gender roles, ideology, religion",
        note="GSS 1972-2024 with weights wtssps, sampling error by strata and clusters (weights alone before 1975); "
        "the mode changed from in person to mostly web in 2021",
        splits=(*SURVEY_SPLITS, 2014),
        years_after=YEARS_AFTER,
        scores=TREND_SCORES,
        seed=seed,
    )


def harmonise_trend(raw: pl.DataFrame) -> pl.DataFrame:
    """The trend extract with the platform's attributes and items."""
    return raw.filter(pl.col("age") >= 18).select(
        pl.col("year").cast(pl.Int32).alias("wave"),
        pl.col("wtssps").alias("weight"),
        pl.col("vstrat").cast(pl.Int64).alias("stratum"),
        pl.col("vpsu").cast(pl.Int64).alias("psu"),
        pl.col("age").cast(pl.Int32),
        _levels("sex", {1: "male", 2: "female"}).alias("sex"),
        _levels("race", {1: "white", 2: "black", 3: "other"}).alias("race_ethnicity"),
        pl.when(pl.col("degree") >= 3)
        .then(pl.lit("college_degree"))
        .when(pl.col("degree").is_not_null())
        .then(pl.lit("no_college_degree"))
        .alias("education"),
        pl.col("age")
        .cut([29, 39, 49, 59, 69], labels=["18-29", "30-39", "40-49", "50-59", "60-69", "70+"])
        .cast(pl.String)
        .alias("age_group"),
        _levels("fefam", dict(zip((4, 3, 2, 1), TREND_SCORES["item_women_at_home"], strict=True))).alias(
            "item_women_at_home"
        ),
        _levels("polviews", dict(enumerate(TREND_SCORES["item_own_ideology"], start=1))).alias("item_own_ideology"),
        pl.when(pl.col("relig").is_not_null())
        .then(pl.when(pl.col("relig") == 4).then(pl.lit("yes")).otherwise(pl.lit("no")))
        .alias("item_no_religion"),
    )


def approval_cases(catalogue: DataCatalogue) -> list[ForecastCase]:
    """Approval of the pandemic response by party: one case per president, fitted on the first half of the time."""
    polls = catalogue.resolve(POLLS_SOURCE).load()
    return [
        _approval_case(polls.filter(pl.col("subject") == president), president)
        for president in sorted(polls["subject"].unique())
    ]


def _approval_case(polls: pl.DataFrame, president: str) -> ForecastCase:
    day = pl.col("end_date").str.to_date()
    first_day: date = polls.select(day.min()).item()
    dated = polls.with_columns(((day - first_day).dt.total_days() // DAYS_PER_STEP).alias("step")).drop_nulls(
        ["approve", "disapprove", "sample_size"]
    )
    names = {"D": "party=democrat", "I": "party=independent", "R": "party=republican", "all": "all"}
    fortnights = (
        dated.with_columns(pl.col("sample_size").cast(pl.Float64))
        .group_by("party", "step")
        .agg(
            (pl.col("approve") * pl.col("sample_size")).sum() / pl.col("sample_size").sum(),
            (pl.col("disapprove") * pl.col("sample_size")).sum() / pl.col("sample_size").sum(),
            pl.col("sample_size").sum().clip(upper_bound=MAX_EFFECTIVE_POLL).alias("size"),
            pl.len().alias("num_polls"),
        )
        .filter(pl.col("num_polls") >= MIN_POLLS)
        .sort("party", "step")
    )
    series = []
    for (party,), rows in fortnights.group_by("party", maintain_order=True):
        approve, disapprove = rows["approve"].to_numpy() / 100, rows["disapprove"].to_numpy() / 100
        share_TO = np.stack([approve, np.maximum(1 - approve - disapprove, 0.0), disapprove], axis=1)
        series.append(
            Series(
                item="pandemic_response",
                segment=names[str(party)],
                options=("approve", "unsure", "disapprove"),
                score_O=np.array([1.0, 0.0, -1.0]),
                step_T=rows["step"].to_numpy().astype(np.int64),
                share_TO=share_TO / share_TO.sum(axis=1, keepdims=True),
                effective_size_T=rows["size"].to_numpy(),
                size=1.0,
            )
        )
    steps = sorted({int(step) for each in series for step in each.step_T})
    split = steps[len(steps) // 2]
    kept, refused = split_series(series, split)
    labels = {step: str(np.datetime64(first_day) + np.timedelta64(step * DAYS_PER_STEP, "D")) for step in steps}
    return ForecastCase(
        name=f"pandemic_approval_{president.lower()}",
        title=f"Approval of {president}'s pandemic response by party, fortnights",
        series=tuple(kept),
        moments=labels,
        split_step=split,
        lookback=6,
        longest=8,
        mechanism="momentum",
        resample_by="time",
        note="FiveThirtyEight's collection of polls; means weighted by sample size, all populations and wordings",
        refused=refused,
    )


def uptake_case(catalogue: DataCatalogue) -> ForecastCase:
    """First doses of adults by state: fitted until mid-2021, compared with the year after."""
    doses = catalogue.resolve(UPTAKE_SOURCE).load()
    lean = _republican_share(catalogue.resolve(VOTES_SOURCE).load())
    column = "Administered_Dose1_Recip_18PlusPop_Pct"
    daily = (
        doses.filter(pl.col("Location").is_in(list(lean)) & (pl.col(column) > 0))
        .select(
            pl.col("Date").cast(pl.Date).alias("day"),
            pl.col("Location").alias("state"),
            (pl.col(column) / 100).alias("share"),
        )
        .sort("day")
    )
    first_day: date = daily.select(pl.col("day").min()).item()
    fortnights = (
        daily.with_columns(((pl.col("day") - first_day).dt.total_days() // DAYS_PER_STEP).alias("step"))
        .group_by("state", "step", maintain_order=True)
        .agg(pl.col("share").last())
        .sort("state", "step")
    )
    centre, spread = float(np.mean(list(lean.values()))), float(np.std(list(lean.values())))
    first_common = int(fortnights.group_by("state").agg(pl.col("step").min())["step"].max())  # pyright: ignore[reportArgumentType]
    fortnights = fortnights.filter(pl.col("step") >= first_common)
    split_day = np.datetime64("2021-06-30")
    split = int((split_day - np.datetime64(first_day)) // np.timedelta64(DAYS_PER_STEP, "D"))
    series = [
        Series(
            item="first_dose",
            segment=f"state={state}",
            options=("vaccinated", "not_vaccinated"),
            score_O=np.array([1.0, -1.0]),
            step_T=rows["step"].to_numpy().astype(np.int64),
            share_TO=np.stack([rows["share"].to_numpy(), 1 - rows["share"].to_numpy()], axis=1),
            effective_size_T=np.full(rows.height, np.inf),
            covariate=(lean[str(state)] - centre) / spread,
        )
        for (state,), rows in fortnights.group_by("state", maintain_order=True)
    ]
    kept, refused = split_series(_with_growth_regression(series, split), split)
    steps = sorted({int(step) for each in series for step in each.step_T})
    return ForecastCase(
        name="vaccine_uptake",
        title="Adults with a first dose by state, fortnights",
        series=tuple(kept),
        moments={step: str(np.datetime64(first_day) + np.timedelta64(step * DAYS_PER_STEP, "D")) for step in steps},
        split_step=max(step for step in steps if step <= split),
        lookback=4,
        longest=8,
        mechanism="adoption",
        resample_by="segment",
        note="CDC counts, revised and capped at 95 % by CDC; late counts hold boosters taken for first doses",
        refused=refused,
    )


def _with_growth_regression(series: list[Series], split: int) -> list[Series]:
    """Adds the regression of places: growth over the last early fortnights on the covariate, carried on."""
    early = [each for each in series if (each.step_T <= split).sum() >= 4]
    growth = [np.polyfit(s.step_T[s.step_T <= split][-4:], s.share_TO[s.step_T <= split, 0][-4:], 1)[0] for s in early]
    slope, level = np.polyfit([each.covariate for each in early], growth, 1)
    made = []
    for each in series:
        last = int(np.flatnonzero(each.step_T <= split)[-1]) if (each.step_T <= split).any() else 0
        ahead = np.maximum(each.step_T - each.step_T[last], 0)
        share = np.clip(each.share_TO[last, 0] + (level + slope * each.covariate) * ahead, 0.0, 1.0)
        made.append(replace(each, regression_TO=np.stack([share, 1 - share], axis=1)))
    return made


def _republican_share(votes: pl.DataFrame) -> dict[str, float]:
    """Republican share of the two-party vote of 2016 by state; an early fact, known before any dose."""
    by_state = votes.filter(pl.col("year") == 2016).group_by("state").agg(pl.col("votes_gop", "votes_dem").sum())
    return {
        str(state): float(gop / (gop + dem))
        for state, gop, dem in by_state.select("state", "votes_gop", "votes_dem").iter_rows()
    }


def _levels(column: str, labels: dict[int, str]) -> pl.Expr:
    return pl.col(column).cast(pl.Int64).replace_strict(labels, default=None, return_dtype=pl.String)
