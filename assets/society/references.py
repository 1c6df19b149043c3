"""Published figures that statistics of the graph are set beside. Numbers only; no data are read.

What a publication counts is never quite what a tie is here; the source says how they differ. Degrees, age correlation
and the friends' homophily of race and party served to set `tie_config.py`, so that agreement there is no evidence.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """A published value of a statistic of one tie type."""

    statistic: str
    tie_type: str
    value: float
    source: str


_POLYMOD = (
    "Mossong et al. 2008, POLYMOD: contacts of one day of 7,290 people of all ages in eight European countries, "
    "as in epiforecasts/socialmixr. Contacts of adults with adults alone: mean 10.8, median 8, 95th percentile 29, age "
    "correlation 0.343 (our reading of the same records)"
)
_FACEBOOK = "McAuley & Leskovec 2012, SNAP ego-Facebook: union of ten ego networks, so denser than a whole network"

REFERENCES: tuple[Reference, ...] = (
    Reference("mean_degree", "all_social", 13.4, _POLYMOD),
    Reference("degree_p50", "all_social", 10.0, _POLYMOD),
    Reference("degree_p95", "all_social", 35.0, _POLYMOD),
    Reference("age_correlation", "all_social", 0.385, _POLYMOD),
    Reference("clustering", "all_social", 0.606, _FACEBOOK),
    Reference("degree_assortativity", "all_social", 0.064, _FACEBOOK),
    Reference(
        "homophily_race_ethnicity",
        "friend",
        0.82,
        "PRRI 2013 American Values Survey: networks of white, black and Hispanic Americans are 91, 83 and 64 % of "
        "their own; averaged by us with shares of adults of 0.65, 0.12 and 0.15 and 0.4 for others. Family included",
    ),
    Reference(
        "homophily_party",
        "friend",
        0.585,
        "PRRI 2022, American friendship networks: 59 and 58 % of the networks of Democrats and Republicans are of "
        "their own. Family included, independents not",
    ),
)
