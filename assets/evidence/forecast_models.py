"""Forecasts of a case's held-out part, by the calibrated mechanism and by the baselines, from the early part alone.

    persistence            the last early wave
    linear_trend           least squares on the log-odds of the early waves within the lookback
    demographic_regression what attributes say of the later wave, by a regression fitted on the early part
    friedkin_johnsen       biased Friedkin–Johnsen dynamics between subgroups, calibrated by gradient
    momentum, adoption     the mechanism of the case, calibrated by gradient

Mechanisms are fitted on windows inside the early part: started at an earlier wave, they run to later waves that are
still early, which is the task they are then judged on. Starts, slopes and comparisons never look past the split.

Legend: W windows (series × start), H timesteps ahead, O options, S series, T times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from assets.evidence.forecast_case import ForecastCase, Series
from assets.evidence.gradient_fit import fit
from assets.tilting import tilt_to_stance
from model.lpm.calibration import Target
from model.lpm.program import Program, run
from model.lpm.programs.adoption import adoption_program
from model.lpm.programs.momentum import LARGEST_STANCE, log_odds_of, momentum_program
from model.lpm.programs.opinion import BIAS, SUSCEPTIBILITY, opinion_population, opinion_program
from model.lsm.inputs import SocialGraph, empty_timeline

STEPS = 80
MAX_STARTS = 6
"""Starts of a series that are fitted on, spread evenly; neighbouring starts say nearly the same."""

SMALLEST_SIZE = 1e9
"""Effective size that counts of everybody are given, so that their error is negligible and finite."""

FJ_FREE = ("influence.susceptibility", "influence.bias")
ADOPTION_FREE = tuple(
    f"adoption.{name}" for name in ("innovation", "imitation", "ceiling_level", "ceiling_slope", "deviation")
)


@dataclass(frozen=True, eq=False)
class Forecast:
    """Predicted shares [T, O] of every series at its held-out times, or why there are none."""

    model: str
    share_STO: tuple[np.ndarray | None, ...]
    note: str = ""
    estimates: Mapping[str, tuple[float, float | None, float | None]] | None = None


@dataclass(frozen=True, eq=False)
class Windows:
    """Starts inside the early part: which series, from which position on."""

    series_W: np.ndarray
    start_W: np.ndarray
    population: dict[str, Tensor]
    graph: SocialGraph


def forecasts(case: ForecastCase) -> list[Forecast]:
    """Every model's forecast of a case."""
    found = [_persistence(case), _linear_trend(case), _demographic_regression(case), _friedkin_johnsen(case)]
    found.append(_adoption(case) if case.mechanism == "adoption" else _momentum(case))
    return found


def num_early(series: Series, split_step: int) -> int:
    """Number of times up to the split."""
    return int((series.step_T <= split_step).sum())


def _persistence(case: ForecastCase) -> Forecast:
    shares = []
    for series in case.series:
        early = num_early(series, case.split_step)
        shares.append(np.repeat(series.share_TO[early - 1][None], len(series.step_T) - early, axis=0))
    return Forecast("persistence", tuple(shares))


def _linear_trend(case: ForecastCase) -> Forecast:
    shares = []
    for series in case.series:
        early = num_early(series, case.split_step)
        step, level = series.step_T[:early], _log_odds(series.stance_T[:early])
        is_near = step >= case.split_step - 2 * case.lookback
        slope, intercept = np.polyfit(step[is_near], level[is_near], 1) if is_near.sum() > 1 else (0.0, level[-1])
        stance_T = np.tanh((intercept + slope * series.step_T[early:]) / 2)
        shares.append(_tilted(series.share_TO[early - 1], series.score_O, stance_T))
    return Forecast("linear_trend", tuple(shares))


def _demographic_regression(case: ForecastCase) -> Forecast:
    shares = tuple(
        None if series.regression_TO is None else series.regression_TO[num_early(series, case.split_step) :]
        for series in case.series
    )
    note = "" if any(share is not None for share in shares) else "no attributes of respondents in this source"
    return Forecast("demographic_regression", shares, note)


def _momentum(case: ForecastCase) -> Forecast:
    return _calibrated(case, "momentum", momentum_program(), tuple(momentum_program().parameters))


def _friedkin_johnsen(case: ForecastCase) -> Forecast:
    program = opinion_program(
        susceptibility=replace(SUSCEPTIBILITY, prior=(0.5, 0.5)),
        bias=replace(BIAS, prior=(0.5, 0.5)),
    )
    return _calibrated(case, "friedkin_johnsen", program, FJ_FREE)


def _calibrated(case: ForecastCase, model: str, program: Program, free: Sequence[str]) -> Forecast:
    """Fits on windows of the early part, then runs from the last early wave."""
    windows = _windows(case)
    targets = _window_targets(case, windows) if len(windows.series_W) else []
    if not targets:
        return Forecast(model, tuple(None for _ in case.series), "no window inside the early part to fit on")
    fitted = fit(program, windows.population, targets, free, STEPS)
    last = _starts(case, [num_early(series, case.split_step) - 1 for series in case.series])
    num_steps = max(int(series.step_T[-1]) for series in case.series) - case.split_step
    stance_HS = np.stack(_recorded(program, last.population, num_steps, fitted.values, "stance_N"))
    shares = []
    for index, series in enumerate(case.series):
        early = num_early(series, case.split_step)
        ahead_T = series.step_T[early:] - series.step_T[early - 1]
        stance_T = stance_HS[np.minimum(ahead_T, num_steps), index]
        shares.append(_tilted(series.share_TO[early - 1], series.score_O, stance_T))
    return Forecast(model, tuple(shares), fitted.note, fitted.estimates)


def _adoption(case: ForecastCase) -> Forecast:
    """Fits uptake from the first time on, then runs on from the last early state."""
    first = min(int(series.step_T[0]) for series in case.series)
    program = adoption_program(len(case.series))
    graph = _graph(case, np.arange(len(case.series)), is_place=True)

    def population(positions: Sequence[int]) -> dict[str, Tensor]:
        share_S = [series.share_TO[position, 0] for series, position in zip(case.series, positions, strict=True)]
        return {
            "adopted_N": torch.tensor(share_S, dtype=torch.float64),
            "covariate_N": torch.tensor([series.covariate for series in case.series], dtype=torch.float64),
            "offsets_N1": graph.offsets_N1,
            "src_E": graph.src_E,
            "strength_E": graph.strength_E.double(),
        }

    early_steps = sorted({int(step) for series in case.series for step in series.step_T if step <= case.split_step})
    targets = []
    for step in early_steps[1:]:
        held = [(i, int(np.flatnonzero(s.step_T == step)[0])) for i, s in enumerate(case.series) if step in s.step_T]
        index = torch.tensor([i for i, _ in held])
        value = torch.tensor([case.series[i].share_TO[place, 0] for i, place in held], dtype=torch.float64)
        targets.append(Target(step - first, lambda state, index=index: state["adopted_N"][index], value, 0.02))
    fitted = fit(program, population([0] * len(case.series)), targets, ADOPTION_FREE, 2 * STEPS)
    num_steps = max(int(series.step_T[-1]) for series in case.series) - case.split_step
    start = population([num_early(series, case.split_step) - 1 for series in case.series])
    recorded = _recorded(program, start, num_steps, fitted.values, "adopted_N")
    shares = []
    for index, series in enumerate(case.series):
        early = num_early(series, case.split_step)
        adopted_T = np.array([recorded[int(step) - case.split_step][index] for step in series.step_T[early:]])
        shares.append(np.stack([adopted_T, 1 - adopted_T], axis=1))
    return Forecast("adoption", tuple(shares), fitted.note, fitted.estimates)


def _windows(case: ForecastCase) -> Windows:
    """Every start inside the early part with two waves before it and one after it."""
    starts: set[tuple[int, int]] = set()
    for index, series in enumerate(case.series):
        positions = [
            position
            for position in range(1, num_early(series, case.split_step) - 1)
            if series.step_T[position] - series.step_T[0] >= case.lookback / 2
        ]
        spread = np.unique(np.linspace(0, len(positions) - 1, MAX_STARTS).round().astype(int)) if positions else []
        starts |= {(index, positions[place]) for place in spread}
    chosen = sorted(starts, key=lambda pair: (case.series[pair[0]].step_T[pair[1]], pair[0]))
    return _windows_of(case, chosen)


def _starts(case: ForecastCase, positions: Sequence[int]) -> Windows:
    return _windows_of(case, list(enumerate(positions)))


def _windows_of(case: ForecastCase, chosen: Sequence[tuple[int, int]]) -> Windows:
    series_W = np.array([index for index, _ in chosen], dtype=np.int64)
    start_W = np.array([position for _, position in chosen], dtype=np.int64)
    whole = {series.item: series for series in case.series if series.segment == "all"}
    stance, earlier, own, common = [], [], [], []
    for index, position in chosen:
        series = case.series[index]
        stance.append(series.stance_T[position])
        earlier.append(series.stance_T[max(0, position - 3) : position + 1].mean())
        own.append(_slope(series, int(series.step_T[position]), case.lookback))
        common.append(_slope(whole.get(series.item, series), int(series.step_T[position]), case.lookback))
    graph = _graph(case, series_W, step_W=[int(case.series[i].step_T[p]) for i, p in chosen])
    stance_W = torch.tensor(stance, dtype=torch.float64)
    score_O = torch.tensor([1.0, -1.0], dtype=torch.float64)
    population = {
        "log_odds_N": log_odds_of(stance_W),
        "earlier_log_odds_N": log_odds_of(torch.tensor(earlier, dtype=torch.float64)),
        "own_slope_N": torch.tensor(own, dtype=torch.float64),
        "common_slope_N": torch.tensor(common, dtype=torch.float64),
        **opinion_population(stance_W, graph, empty_timeline(len(chosen), 1), score_O),
    }
    population["strength_E"] = graph.strength_E.double()
    return Windows(series_W, start_W, population, graph)


def _window_targets(case: ForecastCase, windows: Windows) -> list[Target]:
    """Stances at the early waves after each start, in units of their error.

    The error of a comparison holds its sampling error and the change that persistence leaves at that distance. Windows
    overlap, so their number overstates what they tell: errors are scaled as if each series gave one comparison per
    `longest` steps, which leaves the priors their say.
    """
    by_step: dict[int, list[tuple[int, float, float, float]]] = {}
    for window, (index, start) in enumerate(zip(windows.series_W, windows.start_W, strict=True)):
        series = case.series[index]
        for position in range(start + 1, num_early(series, case.split_step)):
            ahead = int(series.step_T[position] - series.step_T[start])
            if ahead <= case.longest:
                stance = float(series.stance_T[position])
                change = stance - float(series.stance_T[start])
                by_step.setdefault(ahead, []).append((window, stance, change, _standard_error(series, position)))
    num_found = sum(len(found) for found in by_step.values())
    num_independent = len(case.series) * max(1.0, case.split_step / case.longest)
    overlap = max(1.0, num_found / num_independent)
    targets = []
    for ahead, found in sorted(by_step.items()):
        index = torch.tensor([window for window, _, _, _ in found])
        spread = float(np.mean([change**2 for _, _, change, _ in found]))
        error = torch.tensor([np.sqrt(e**2 + spread) for _, _, _, e in found], dtype=torch.float64)
        value = torch.tensor([stance for _, stance, _, _ in found], dtype=torch.float64) / error
        targets.append(
            Target(ahead, lambda state, i=index, e=error: state["stance_N"][i] / e, value, float(np.sqrt(overlap)))
        )
    return targets


def _graph(
    case: ForecastCase, series_W: np.ndarray, *, step_W: Sequence[int] | None = None, is_place: bool = False
) -> SocialGraph:
    """Ties to the other segments of the same attribute, item and start, as strong as they are large."""
    groups: dict[tuple, list[int]] = {}
    for window, index in enumerate(series_W):
        series = case.series[index]
        key = (series.item, series.attribute, step_W[window] if step_W is not None else 0)
        groups.setdefault(key, []).append(window)
    src, offsets, strength = [], [0], []
    for window, index in enumerate(series_W):
        series = case.series[index]
        key = (series.item, series.attribute, step_W[window] if step_W is not None else 0)
        for other in groups[key]:
            if other != window or is_place:
                src.append(other)
                own = 4.0 * len(groups[key]) if other == window else 1.0
                strength.append(case.series[series_W[other]].size * own)
        offsets.append(len(src))
    return SocialGraph(
        offsets_N1=torch.tensor(offsets, dtype=torch.int64),
        src_E=torch.tensor(src, dtype=torch.int64),
        tie_type_E=torch.full((len(src),), 3, dtype=torch.int64),
        strength_E=torch.tensor(strength, dtype=torch.float32),
    )


def _recorded(
    program: Program, population: dict[str, Tensor], num_steps: int, values: Mapping[str, Tensor], name: str
) -> list[np.ndarray]:
    """One tensor of the state at timesteps 0 … num_steps."""
    recorded: list[np.ndarray] = []
    with torch.no_grad():
        run(
            program,
            population,
            num_steps,
            record=lambda _, state: recorded.append(state[name].numpy()),
            values=values,
        )
    return recorded


def _slope(series: Series, until: int, lookback: int) -> float:
    """Slope of the log-odds per timestep over the lookback before `until`; 0 with fewer than two waves."""
    is_used = (series.step_T <= until) & (series.step_T >= until - lookback)
    if is_used.sum() < 2:
        return 0.0
    return float(np.polyfit(series.step_T[is_used], _log_odds(series.stance_T[is_used]), 1)[0])


def _standard_error(series: Series, position: int) -> float:
    share_O, size = series.share_TO[position], min(series.effective_size_T[position], SMALLEST_SIZE)
    variance = float(share_O @ series.score_O**2 - (share_O @ series.score_O) ** 2)
    return max(np.sqrt(max(variance, 0.01) / size), 1e-3)


def _tilted(share_O: np.ndarray, score_O: np.ndarray, stance_T: np.ndarray) -> np.ndarray:
    repeated_TO = np.repeat(np.maximum(share_O, 1e-6)[None] / np.maximum(share_O, 1e-6).sum(), len(stance_T), axis=0)
    return tilt_to_stance(repeated_TO, score_O, np.clip(stance_T, -LARGEST_STANCE, LARGEST_STANCE))


def _log_odds(stance: np.ndarray) -> np.ndarray:
    return 2 * np.arctanh(np.clip(stance, -LARGEST_STANCE, LARGEST_STANCE))
