"""Measures recorded contact and friendship data of the data mirror as our own graphs are measured.

What comes out are numbers, kept in `recorded_networks.yaml` so that targets and comparisons are there without the
records; `populace society recorded --write` makes that file anew.

    RecordedError   the file of recorded numbers cannot be used
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import yaml

from assets.society.graph_measures import Graph, correlation, degree_measures, structure_measures
from assets.sources.catalogue import DataCatalogue
from validation.attributes import AGE_GROUP_BOUNDS

RECORDED_FILE = Path(__file__).with_name("recorded_networks.yaml")
ADULT_AGE = 18
PLACES = ("home", "work", "leisure", "elsewhere")
"""Where a contact was met, the first that applies: at home, at work, at leisure, or anywhere else."""


class RecordedError(ValueError):
    """The file of recorded numbers cannot be used; the message names the file and the next step."""


@dataclass(frozen=True)
class RecordedNetworks:
    """Numbers measured on recorded data.

    networks: name, title, source, num_people, statistics by name and degrees as [degree, people] pairs.
    age_mixing: contacts of adults with adults, age group of the participant by age group of the contact.
    """

    networks: tuple[dict[str, Any], ...]
    age_mixing: tuple[tuple[int, ...], ...]

    def value(self, network: str, statistic: str) -> float:
        """One number.

        Raises:
            RecordedError: the network or the statistic is not there.
        """
        for entry in self.networks:
            if entry["network"] == network and statistic in entry["statistics"]:
                return float(entry["statistics"][statistic])
        raise RecordedError(
            f"{RECORDED_FILE.name} has no {statistic} of {network}. Networks: "
            f"{', '.join(entry['network'] for entry in self.networks)}. Mend it: populace society recorded --write."
        )


def load_recorded(path: Path = RECORDED_FILE) -> RecordedNetworks:
    """The numbers that are kept.

    Raises:
        RecordedError: the file lacks a part.
    """
    kept = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        return RecordedNetworks(tuple(kept["networks"]), tuple(tuple(row) for row in kept["age_mixing"]))
    except (KeyError, TypeError) as error:
        raise RecordedError(
            f"{path.name} lacks {error}. It must hold networks and age_mixing; make it anew with populace society "
            "recorded --write."
        ) from error


def write_recorded(recorded: RecordedNetworks, path: Path = RECORDED_FILE) -> None:
    """Keeps the numbers, whole or not at all."""
    text = yaml.safe_dump(
        {"networks": list(recorded.networks), "age_mixing": [list(row) for row in recorded.age_mixing]},
        sort_keys=False,
        allow_unicode=True,
        width=118,
        default_flow_style=None,
    )
    head = "# Numbers measured on recorded networks; made by `populace society recorded --write`, not by hand.\n"
    partial = path.with_suffix(".partial")
    partial.write_text(head + text, encoding="utf-8")
    partial.replace(path)


def is_at_hand(catalogue: DataCatalogue) -> bool:
    """Whether all recorded networks are in the data mirror."""
    names = ("polymod_participants", "polymod_contacts", "diffusion_brazilian_farmers", "diffusion_korean_families")
    return all(catalogue.has(name) for name in (*names, "ego_facebook"))


def recorded_numbers(catalogue: DataCatalogue) -> tuple[RecordedNetworks, str]:
    """The numbers measured on the data mirror's records, or those that are kept where it is not at hand, and which."""
    return (measure_recorded(catalogue), "mirror") if is_at_hand(catalogue) else (load_recorded(), "kept")


def beside_ours(recorded: RecordedNetworks, statistics: pl.DataFrame, origin: str) -> pl.DataFrame:
    """Rows of `recorded_networks`: every recorded statistic, and that of our social ties where it is the same one.

    Args:
        recorded: numbers measured on recorded networks.
        statistics: rows of `graph_statistics`.
        origin: mirror or kept.
    """
    social = statistics.filter(pl.col("tie_type") == "all_social")
    ours = dict(social.select("statistic", "value").iter_rows())
    chance = dict(social.select("statistic", "chance_value").iter_rows())
    if ours.get("path_length") is not None and chance.get("path_length"):
        ours["path_length_to_chance"] = ours["path_length"] / chance["path_length"]
    rows = [
        (entry["network"], name, float(value), ours.get(name), entry["num_people"], entry["source"], origin)
        for entry in recorded.networks
        for name, value in entry["statistics"].items()
    ]
    schema = {
        "network": pl.String,
        "statistic": pl.String,
        "value": pl.Float64,
        "our_value": pl.Float64,
        "num_people": pl.Int64,
        "source": pl.String,
        "origin": pl.String,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def measure_recorded(catalogue: DataCatalogue) -> RecordedNetworks:
    """Measures every recorded network of the mirror.

    Raises:
        SourceUnavailable: the mirror lacks one of them.
    """
    people, contacts = (catalogue.resolve(f"polymod_{part}").load() for part in ("participants", "contacts"))
    polymod, mixing = measure_contacts(people, contacts)
    farmers = catalogue.resolve("diffusion_brazilian_farmers").load().with_columns(pl.col("idold") % 100)
    women = catalogue.resolve("diffusion_korean_families").load()
    friends = catalogue.resolve("ego_facebook").load().to_numpy()
    networks = [
        {
            "network": "polymod_adults",
            "title": "contacts of one day of adults with adults, eight European countries, 2005-2006",
            "source": "Mossong et al. 2008 (POLYMOD), as in epiforecasts/socialmixr",
            **polymod,
        },
        {
            "network": "korean_women",
            "title": "whom women of 25 Korean villages talk to, eight questions together, 1973",
            "source": "Rogers & Kincaid 1981, as in USCCANA/netdiffuseR",
            **measure_graph(*nominations(women, "id"), women.height),
        },
        {
            "network": "brazilian_farmers",
            "title": "whom farmers of 11 Brazilian villages name as friends, opinion leaders and partners, 1966",
            "source": "Rogers et al. 1970, as in USCCANA/netdiffuseR",
            **measure_graph(*nominations(farmers, "idold"), farmers.height),
        },
        {
            "network": "ego_facebook",
            "title": "union of ten Facebook ego networks, so denser in triangles than a whole network, 2012",
            "source": "McAuley & Leskovec 2012, as in SNAP",
            **measure_graph(friends[:, 0], friends[:, 1], int(friends.max()) + 1),
        },
    ]
    return RecordedNetworks(tuple(networks), mixing)


def measure_graph(src_E: np.ndarray, dst_E: np.ndarray, num_people: int) -> dict[str, Any]:
    """Statistics and degrees of a network given by its ties in either direction."""
    graph = Graph.of(src_E, dst_E, num_people)
    measured = [*degree_measures(graph.degree_N), *structure_measures(graph)]
    statistics = {name: round(value, 4) for name, value, _ in measured if value is not None}
    for name, value, chance in measured:
        if name == "path_length" and value is not None and chance:
            statistics["path_length_to_chance"] = round(value / chance, 4)
    return {"num_people": num_people, "statistics": statistics, "degrees": _histogram(graph.degree_N)}


def measure_contacts(
    people: pl.DataFrame, contacts: pl.DataFrame
) -> tuple[dict[str, Any], tuple[tuple[int, ...], ...]]:
    """Statistics of the contacts of adults with adults, in all and by place, and their age mixing.

    Args:
        people: participants, as POLYMOD records them.
        contacts: their contacts.
    """
    adults = people.filter(pl.col("part_age_exact") >= ADULT_AGE)
    middle = (pl.col("cnt_age_est_min") + pl.col("cnt_age_est_max")) // 2
    met = (
        contacts.with_columns(age=pl.coalesce("cnt_age_exact", middle))
        .join(adults.select("part_id", "part_age_exact", "part_gender"), on="part_id")
        .filter(pl.col("age") >= ADULT_AGE)
        .with_columns(
            place=pl.when(pl.col("cnt_home") == 1)
            .then(pl.lit("home"))
            .when(pl.col("cnt_work") == 1)
            .then(pl.lit("work"))
            .when(pl.col("cnt_leisure") == 1)
            .then(pl.lit("leisure"))
            .otherwise(pl.lit("elsewhere"))
        )
    )
    number = adults.join(met.group_by("part_id").len(), on="part_id", how="left")["len"].fill_null(0).to_numpy()
    statistics = {name: round(value, 4) for name, value, _ in degree_measures(number) if value is not None}
    for place in (None, *PLACES):
        part = met if place is None else met.filter(pl.col("place") == place)
        end = "" if place is None else f"_{place}"
        sexed = part.filter(pl.col("cnt_gender").is_in(["M", "F"]) & pl.col("part_gender").is_in(["M", "F"]))
        same_sex = (sexed["cnt_gender"] == sexed["part_gender"]).mean()
        found = {
            f"mean_degree{end}": part.height / adults.height,
            f"age_correlation{end}": correlation(part["part_age_exact"].to_numpy(), part["age"].to_numpy()),
            f"homophily_sex{end}": same_sex,
        }
        statistics |= {name: round(float(value), 4) for name, value in found.items() if value is not None}  # pyright: ignore[reportArgumentType]
    edges = [low for low, _ in AGE_GROUP_BOUNDS.values()] + [200]
    counts = np.histogram2d(met["part_age_exact"].to_numpy(), met["age"].to_numpy(), bins=[edges, edges])[0]
    mixing = tuple(tuple(int(count) for count in row) for row in counts)
    return {"num_people": adults.height, "statistics": statistics, "degrees": _histogram(number)}, mixing


def nominations(people: pl.DataFrame, id_column: str) -> tuple[np.ndarray, np.ndarray]:
    """Ties between people of a village from all their nominations; names of people who were not asked are left out.

    Args:
        people: village, an id within the village, and columns net… with the ids that were named, 0 for none.
        id_column: name of the id.
    """
    row = people.select(pl.col("village", id_column).cast(pl.Int64), row=pl.int_range(pl.len(), dtype=pl.Int64))
    named = (
        people.with_columns(pl.col("village").cast(pl.Int64), src=pl.int_range(pl.len(), dtype=pl.Int64))
        .unpivot([name for name in people.columns if name.startswith("net")], index=["village", "src"])
        .select("village", "src", pl.col("value").cast(pl.Int64).alias(id_column))
        .drop_nulls()
        .join(row.rename({"row": "dst"}), on=["village", id_column])
        .filter(pl.col("src") != pl.col("dst"))
    )
    return named["src"].to_numpy(), named["dst"].to_numpy()


def _histogram(degree_N: np.ndarray) -> list[list[int]]:
    counts = np.bincount(degree_N)
    return [[int(degree), int(counts[degree])] for degree in np.flatnonzero(counts)]
