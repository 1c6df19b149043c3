"""Exposure: closed forms on small economies, laws on random ones, and the published files."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.sources.catalogue import DataCatalogue
from assets.workforce.automatability import LABEL_COLUMNS, estimate_skill_shares, labels_by_occupation
from assets.workforce.definitions import SOURCES
from assets.workforce.exposure import measure_exposure
from assets.workforce.occupations import WorkforceError, match_codes, read_wages, skill_weights
from validation.contracts import CONTRACTS

CODES = [f"{major}-{number:04d}" for major in (11, 15, 29) for number in range(1010, 1210, 10)]


def economy(generator):
    """Files of sixty occupations over three skills, whose labels follow exactly from known shares of the skills."""
    share_S = np.array([0.0, 0.4, 1.0])
    importance_OS = generator.uniform(1.5, 5.0, (len(CODES), 3))
    level_OS = generator.uniform(1.0, 7.0, (len(CODES), 3))
    amount_OS = (importance_OS - 1) / 4 * level_OS / 7
    label_O = (amount_OS / amount_OS.sum(1, keepdims=True)) @ share_S
    skills = pl.DataFrame(
        [
            {
                "O*NET-SOC Code": f"{code}.00",
                "Element Name": f"s{s}",
                "Scale ID": scale,
                "Data Value": values[o, s],
            }
            for o, code in enumerate(CODES)
            for s in range(3)
            for scale, values in (("IM", importance_OS), ("LV", level_OS))
        ]
    )
    columns = ("human_rating_alpha", "human_rating_beta", "dv_rating_alpha", "dv_rating_beta")
    labels = pl.DataFrame({"O*NET-SOC Code": [f"{c}.00" for c in CODES], **dict.fromkeys(columns, label_O)})
    employment_O = generator.integers(1_000, 90_000, len(CODES))
    wage_O = generator.integers(30_000, 150_000, len(CODES))
    shared = {"OCC_CODE": CODES, "OCC_TITLE": CODES, "O_GROUP": ["detailed"] * len(CODES)}
    national = pl.DataFrame(
        shared | {"TOT_EMP": [f"{n:,}" for n in employment_O], "A_MEAN": [f"{wage:,}" for wage in wage_O]}
    )
    state = pl.DataFrame(
        shared | {"PRIM_STATE": "NY", "TOT_EMP": employment_O.astype(float), "A_MEAN": wage_O.astype(float)}
    )
    felten = pl.DataFrame({"SOC Code": CODES, "AIOE": label_O})
    return (national, state, skills, labels, felten), label_O, employment_O * wage_O


def test_known_shares_are_recovered_and_the_index_is_their_wage_weighted_mean():
    files, label_O, value_O = economy(np.random.default_rng(4))
    tables = measure_exposure(*files, seed=1)
    assert tables.skill_exposure["automatable_share"].to_list() == pytest.approx([0.0, 0.4, 1.0], abs=1e-8)
    main = tables.exposure_index.filter(labelled_by="human", counts="direct", rule="expected")
    expected = float(label_O @ value_O / value_O.sum())
    technology = np.array([code.startswith("15-") for code in CODES])
    for place in ("US", "NY"):
        here = main.filter(geography=place)
        assert here.filter(index_name="iceberg")["value"].item() == pytest.approx(expected)
        surface = float((label_O * value_O)[technology].sum() / value_O.sum())
        assert here.filter(index_name="surface")["value"].item() == pytest.approx(surface)
    assert tables.facts["r2_held_out"] == pytest.approx(1.0)
    assert tables.facts["spearman_with_felten"] == pytest.approx(1.0)
    for name in ("occupation_exposure", "skill_exposure", "exposure_index"):
        CONTRACTS[name].validate(getattr(tables, name))


def test_concentration_of_equal_parts_is_one_over_their_number():
    files, *_ = economy(np.random.default_rng(4))
    national, state, skills, labels, felten = files
    same = skills.with_columns(pl.lit(3.0).alias("Data Value"))
    even = national.with_columns(TOT_EMP=pl.lit("1,000"), A_MEAN=pl.lit("50,000"))
    index = measure_exposure(even, state, same, labels, felten, seed=1).exposure_index
    row = index.filter(geography="US", index_name="iceberg", labelled_by="human", counts="direct", rule="expected")
    assert row["hhi"].item() == pytest.approx(1 / len(CODES))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), scale=st.floats(0.01, 100))
def test_index_depends_on_neither_order_nor_currency(seed, scale):
    files, *_ = economy(np.random.default_rng(seed))
    national, state, skills, labels, felten = files
    richer = state.sample(fraction=1.0, shuffle=True, seed=seed).with_columns(pl.col("A_MEAN") * scale)
    shuffled = skills.sample(fraction=1.0, shuffle=True, seed=seed)
    ours = measure_exposure(*files, seed=1).exposure_index.filter(geography="NY")["value"]
    theirs = measure_exposure(national, richer, shuffled, labels, felten, seed=1).exposure_index
    assert theirs.filter(geography="NY")["value"].to_list() == pytest.approx(ours.to_list())


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_shares_stay_between_zero_and_one_whatever_the_labels(seed):
    generator = np.random.default_rng(seed)
    weight_OS = generator.dirichlet(np.ones(5), size=40)
    label_O = generator.uniform(0, 1, 40)
    shares = estimate_skill_shares(weight_OS, label_O, tuple("abcde"), num_draws=5, seed=seed)
    everything = np.vstack([shares.share_S, shares.draws_BS])
    assert everything.shape == (6, 5)
    assert everything.min() >= 0
    assert everything.max() <= 1
    again = estimate_skill_shares(weight_OS, label_O, tuple("abcde"), num_draws=5, seed=seed)
    assert np.array_equal(again.draws_BS, shares.draws_BS)


def test_skill_weights_sum_to_one_and_follow_importance_times_level():
    skills = pl.DataFrame(
        {
            "O*NET-SOC Code": ["11-1011.00"] * 4,
            "Element Name": ["Writing", "Writing", "Repairing", "Repairing"],
            "Scale ID": ["IM", "LV", "IM", "LV"],
            "Data Value": [5.0, 7.0, 3.0, 3.5],
        }
    )
    weights = dict(skill_weights(skills).select("skill", "weight").iter_rows())
    assert weights == pytest.approx({"Writing": 0.8, "Repairing": 0.2})


def test_merged_codes_take_the_ratings_of_their_broad_group():
    matched = match_codes(
        pl.DataFrame({"soc_code": ["31-1120", "11-1011", "99-9999"]}), pl.Series(["31-1121", "31-1122", "11-1011"])
    )
    assert matched.rows() == [
        ("11-1011", "11-1011", "exact"),
        ("31-1120", "31-1121", "broad"),
        ("31-1120", "31-1122", "broad"),
    ]


def test_unpublished_wages_come_from_the_nation_and_say_so():
    (national, state, *_), *_ = economy(np.random.default_rng(4))
    gaps = state.with_columns(A_MEAN=pl.when(pl.col("OCC_CODE") == CODES[0]).then(None).otherwise("A_MEAN"))
    wages = read_wages(national, gaps).filter(pl.col("soc_code") == CODES[0]).sort("geography")
    assert wages["is_wage_imputed"].to_list() == [True, False]
    assert wages["mean_wage_usd"].n_unique() == 1


def test_a_missing_column_is_named():
    (national, state, skills, *_), *_ = economy(np.random.default_rng(4))
    with pytest.raises(WorkforceError, match="oews_national_2023 has no column A_MEAN"):
        read_wages(national.drop("A_MEAN"), state)
    with pytest.raises(WorkforceError, match="onet_skills has no column Scale ID"):
        skill_weights(skills.drop("Scale ID"))


def test_labels_of_detailed_occupations_are_averaged():
    labels = pl.DataFrame({"O*NET-SOC Code": ["15-1252.00", "15-1252.01"]}).with_columns(
        pl.Series(name, [0.2, 0.4]) for name in LABEL_COLUMNS.values()
    )
    assert labels_by_occupation(labels).row(0) == ("15-1252", *[pytest.approx(0.3)] * 4)


@pytest.mark.data
def test_published_files_give_an_index_near_the_published_ones(data_mirror, tmp_path):
    catalogue = DataCatalogue(None, data_mirror, tmp_path)
    tables = measure_exposure(*(catalogue.resolve(name).load() for name in SOURCES), seed=1)
    main = tables.exposure_index.filter(geography="US", labelled_by="human", counts="direct", rule="expected")
    values = dict(main.select("index_name", "value").iter_rows())
    assert 0.5 < values["iceberg"] / 0.117 < 2
    assert 0.4 < values["surface"] / 0.022 < 2
    assert tables.facts["spearman_with_felten"] > 0.8
    assert main["covered_employment_share"].min() > 0.95
    assert tables.exposure_index["geography"].n_unique() == 52
