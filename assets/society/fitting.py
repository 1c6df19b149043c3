"""Sets the rules of tie formation so that the graph they form meets its targets.

Every fitted target has one knob: a preference for the alike moves homophily, the slope with age the age correlation,
closure the clustering, the shape of sociability the 95th percentile of degrees, and sizes the mean degrees. Knobs are
turned together, round by round, in proportion to what is missing; draws stay the same, so that rounds differ by the
knobs alone.

Source: stochastic approximation, Robbins & Monro (1951), as the method of moments for network models in Snijders
(2001).
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from assets.society.statistics import graph_statistics
from assets.society.targets import GraphTarget, load_targets
from assets.society.tie_config import TieConfig, TieRule
from assets.society.ties import form_ties

MOST_CLOSURE = 0.9
MOST_LOG_ODDS = 6.0
STEP = 0.7
"""Share of what is missing that a round makes up for: less than all, since knobs work on one another."""

CLOSURE_STEP = 1.0
AGE_STEP = 1.5


class UnfittableTarget(ValueError):
    """A target is marked as fitted, but no knob moves its statistic; the message says which do."""


def fit_ties(
    agents: pl.DataFrame,
    config: TieConfig,
    seed: int,
    *,
    rounds: int = 15,
    report: Callable[[int, pl.DataFrame], None] | None = None,
) -> tuple[TieConfig, pl.DataFrame]:
    """Turns the knobs of a configuration until the fitted targets are met as nearly as the rounds allow.

    Args:
        agents: rows of `agents`; some 10,000 are enough.
        config: where to start from; what no target speaks of stays as it is.
        seed: of the ties.
        rounds: graphs to form.
        report: is told of every round: its number and the statistics of its graph.

    Returns:
        The configuration of the round that came nearest in units of tolerance, and the statistics of its graph.

    Raises:
        UnfittableTarget: a target is marked as fitted that has no knob.
    """
    fitted = [target for target in load_targets() if target.is_fitted]
    for target in fitted:
        _check_knob(target, config)
    best: tuple[float, TieConfig, pl.DataFrame] | None = None
    for number in range(rounds):
        statistics = graph_statistics(agents, form_ties(agents, seed, config))
        if report is not None:
            report(number, statistics)
        value = {(row[0], row[1]): row[2] for row in statistics.iter_rows()}
        misses = [(value[target.statistic, target.tie_type] - target.value) / target.tolerance for target in fitted]
        distance = float(np.square(misses).sum())
        if best is None or distance < best[0]:
            best = distance, config, statistics
        config = _turned(config, fitted, value)
    assert best is not None
    return best[1], best[2]


def _check_knob(target: GraphTarget, config: TieConfig) -> None:
    kind = target.statistic.removeprefix("homophily_") if target.statistic.startswith("homophily_") else None
    of_type = target.tie_type in config.rules and (
        kind is not None or target.statistic in ("age_correlation", "mean_degree")
    )
    of_all = target.tie_type == "all_social" and target.statistic in ("mean_degree", "degree_p95", "clustering")
    if not of_type and not of_all:
        raise UnfittableTarget(
            f"No knob moves {target.statistic} of {target.tie_type}. Knobs: mean_degree, age_correlation and "
            f"homophily_… of {', '.join(config.rules)}; mean_degree, degree_p95 and clustering of all_social. "
            "Say is_fitted: false in graph_targets.yaml."
        )


def _turned(config: TieConfig, fitted: list[GraphTarget], value: Mapping[tuple[str, str], float]) -> TieConfig:
    rules = dict(config.rules)
    shape = config.sociability_shape
    for target in fitted:
        missing = target.value - value[target.statistic, target.tie_type]
        if target.statistic == "degree_p95":
            ratio = value[target.statistic, target.tie_type] / target.value
            shape = float(np.clip(shape * ratio ** (2.0 * STEP), 0.3, 20.0))
        elif target.statistic == "clustering":
            for name, rule in rules.items():
                closure = np.clip(rule.closure_share + CLOSURE_STEP * STEP * missing, 0.0, MOST_CLOSURE)
                rules[name] = replace(rule, closure_share=round(float(closure), 4))
        elif target.tie_type == "all_social":
            # Types with a target of their own keep it: what is missing in all goes to the first that has none.
            own = {other.tie_type for other in fitted if other.statistic == "mean_degree"}
            name = next((name for name in rules if name not in own), next(iter(rules)))
            rules[name] = replace(rules[name], mean_degree=round(max(0.0, rules[name].mean_degree + missing), 4))
        else:
            rules[target.tie_type] = _turned_rule(rules[target.tie_type], target, missing)
    return replace(config, rules=rules, sociability_shape=round(shape, 4))


def _turned_rule(rule: TieRule, target: GraphTarget, missing: float) -> TieRule:
    if target.statistic == "mean_degree":
        return replace(rule, mean_degree=round(max(0.0, rule.mean_degree + missing), 4))
    if target.statistic == "age_correlation":
        slope = max(0.0, rule.log_odds_per_decade + AGE_STEP * STEP * missing)
        return replace(rule, log_odds_per_decade=round(slope, 4))
    name = target.statistic.removeprefix("homophily_")
    value = min(max(target.value - missing, 1e-3), 1 - 1e-3)
    step = np.log(target.value / (1 - target.value)) - np.log(value / (1 - value))
    log_odds = float(np.clip(rule.log_odds.get(name, 0.0) + STEP * step, -MOST_LOG_ODDS, MOST_LOG_ODDS))
    return replace(rule, log_odds={**rule.log_odds, name: round(log_odds, 4)})
