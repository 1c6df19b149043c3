"""Media sources and their followers."""

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assets.society.media import MediaSource, MediaSourceError, form_media, load_media_sources
from validation.contracts import CONTRACTS
from validation.events import MEDIA_SOURCE_TYPES
from validation.predicates import compile_predicate


def test_shipped_sources_cover_every_channel():
    assert {source.source_type for source in load_media_sources()} == set(MEDIA_SOURCE_TYPES)


def test_followers_are_of_the_audience_and_as_many_as_reach_says(society_agents):
    media_sources, ties = form_media(society_agents, seed=2)
    CONTRACTS["media_sources"].validate(media_sources)
    CONTRACTS["ties"].validate(ties)
    for source in media_sources.iter_rows(named=True):
        audience = society_agents.filter(compile_predicate(source["audience"]))
        followers = ties.filter(pl.col("src") == source["source_id"])["dst"]
        assert followers.is_in(audience["agent_id"].implode()).all()
        assert len(followers) == source["num_followers"]
        assert len(followers) / audience.height == pytest.approx(source["reach"], abs=0.07)


def test_full_and_no_reach(society_agents):
    sources = (
        MediaSource("everybody", "network_television", 1.0, ""),
        MediaSource("nobody", "social_platform", 0.0, "age >= 18"),
    )
    media_sources, ties = form_media(society_agents, 2, sources)
    assert media_sources["num_followers"].to_list() == [society_agents.height, 0]
    assert ties["dst"].to_list() == society_agents["agent_id"].to_list()


def test_a_source_added_last_leaves_the_others_alone(society_agents):
    sources = load_media_sources()
    _, before = form_media(society_agents, 2, sources[:-1])
    _, after = form_media(society_agents, 2, sources)
    assert_frame_equal(before, after.filter(pl.col("src") < len(sources) - 1))


def test_following_does_not_go_with_the_number_of_ties(society_agents):
    from assets.society.ties import form_ties

    _, media_ties = form_media(society_agents, 5, (MediaSource("half", "social_platform", 0.5, ""),))
    degrees = form_ties(society_agents, 5).group_by("dst").len()
    is_follower = degrees["dst"].is_in(media_ties["dst"].implode())
    ratio = degrees.filter(is_follower)["len"].mean() / degrees.filter(~is_follower)["len"].mean()
    assert ratio == pytest.approx(1.0, abs=0.08)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {name: a, source_type: radio, reach: 0.5, audience: ''}", "source_type is 'radio'; allowed: network_tele"),
        ("- {name: a, source_type: social_platform, reach: 1.5, audience: ''}", "reach is 1.5"),
        ("- {name: a, source_type: social_platform, reach: 0.5, audience: colour = 'red'}", "unknown attribute"),
        ("- {name: a, source_type: social_platform, reach: 0.5}", "entry 1"),
        ("{}", "must hold a list"),
        (
            "- &a {name: a, source_type: social_platform, reach: 0.5, audience: ''}\n- *a",
            "names a more than once",
        ),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    path = tmp_path / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MediaSourceError, match=message):
        load_media_sources(path)
