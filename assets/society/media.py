"""Forms media ties: which agents follow which media source, drawn from published audience shares.

Media ties carry events and nothing else; their src is a source_id. The sources themselves are data, in
`media_sources.yaml`.

    MediaSourceError   the file of media sources cannot be used

Legend: N agents, S media sources.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from validation.events import MEDIA_SOURCE_TYPES
from validation.predicates import PredicateError, compile_predicate

MEDIA_SOURCES_FILE = Path(__file__).with_name("media_sources.yaml")

MEDIA_STREAM = 2
"""Keeps these draws apart from those of other steps that are given the same seed."""

MEDIA_TIE_STRENGTH = 1.0
"""Following a source has no grades: whom an event reaches is settled by reach, not by strength."""


class MediaSourceError(ValueError):
    """The file of media sources cannot be used; the message names file, entry and field."""


@dataclass(frozen=True)
class MediaSource:
    """A media source: the kind of channel it is, whom it addresses, and the fraction of them who follow it."""

    name: str
    source_type: str
    reach: float
    audience: str

    def __post_init__(self) -> None:
        if self.source_type not in MEDIA_SOURCE_TYPES:
            raise ValueError(f"source_type is {self.source_type!r}; allowed: {', '.join(MEDIA_SOURCE_TYPES)}")
        if isinstance(self.reach, bool) or not isinstance(self.reach, int | float) or not 0.0 <= self.reach <= 1.0:
            raise ValueError(f"reach is {self.reach!r}; allowed: a fraction from 0 to 1")
        try:
            compile_predicate(self.audience)
        except PredicateError as error:
            raise ValueError(f"audience: {error}") from error


def load_media_sources(path: Path = MEDIA_SOURCES_FILE) -> tuple[MediaSource, ...]:
    """Reads media sources in file order, which is the order of their ids.

    Raises:
        MediaSourceError: the file holds no list of entries with exactly the known fields, or a field has a bad value.
    """
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not entries:
        raise MediaSourceError(f"{path.name} must hold a list of media sources; found {type(entries).__name__}.")
    sources = []
    for position, entry in enumerate(entries):
        try:
            sources.append(MediaSource(**entry))
        except (TypeError, ValueError) as error:
            raise MediaSourceError(
                f"{path.name}, entry {position + 1}: {error}. Every entry has name, source_type, reach and audience."
            ) from error
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise MediaSourceError(f"{path.name} names {', '.join(twice)} more than once; names must differ.")
    return tuple(sources)


def form_media(
    agents: pl.DataFrame, seed: int, sources: tuple[MediaSource, ...] | None = None
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draws the followers of every media source.

    Each agent of the audience follows with the source's reach as probability. Sources draw from streams of their own:
    adding one at the end leaves the followers of the others as they were.

    Args:
        agents: rows of `agents`.
        seed: any non-negative integer.
        sources: the media sources; those of `media_sources.yaml` when left out.

    Returns:
        Rows of `media_sources`, and rows of `ties` of type media, sorted by follower.
    """
    sources = load_media_sources() if sources is None else sources
    agents = agents.sort("agent_id")
    agent_id_N = agents["agent_id"].to_numpy()
    followers_S = []
    for source, child in zip(sources, np.random.SeedSequence((seed, MEDIA_STREAM)).spawn(len(sources)), strict=True):
        is_addressed = agents.with_columns(compile_predicate(source.audience).fill_null(False).alias("is_addressed"))
        draw_N = np.random.default_rng(child).random(agents.height)
        followers_S.append(agent_id_N[is_addressed["is_addressed"].to_numpy() & (draw_N < source.reach)])
    media_sources = pl.DataFrame(
        {
            "source_id": np.arange(len(sources), dtype=np.int64),
            "name": [source.name for source in sources],
            "source_type": [source.source_type for source in sources],
            "reach": [float(source.reach) for source in sources],
            "audience": [source.audience for source in sources],
            "num_followers": [len(followers) for followers in followers_S],
        },
        schema_overrides={"source_id": pl.Int64, "reach": pl.Float64, "num_followers": pl.Int64},
    )
    ties = pl.DataFrame(
        {
            "src": np.repeat(np.arange(len(sources), dtype=np.int32), [len(followers) for followers in followers_S]),
            "dst": np.concatenate([*followers_S, np.empty(0, dtype=np.int64)]).astype(np.int32),
        },
        schema={"src": pl.Int32, "dst": pl.Int32},
    ).with_columns(pl.lit("media").alias("tie_type"), pl.lit(MEDIA_TIE_STRENGTH, dtype=pl.Float32).alias("strength"))
    return media_sources, ties.sort("dst", "src")
