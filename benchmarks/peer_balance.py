"""Runs in `.venv-peers`: rakes with `balance` on request and answers with the time that the raking alone took.

Reads one JSON line per request from standard input: the path of an .npz with `weight` and one integer column per
margin, and the target shares per margin. Answers with one JSON line: seconds and the largest relative margin error.
"""

import json
import logging
import sys
import time
import warnings

import numpy as np
import pandas as pd


def main() -> None:
    """Answers requests until standard input ends."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    from balance.weighting_methods.rake import rake

    for line in sys.stdin:
        request = json.loads(line)
        arrays = np.load(request["path"])
        names = [name for name in arrays.files if name != "weight"]
        sample = pd.DataFrame({name: arrays[name].astype(str) for name in names})
        weight = pd.Series(arrays["weight"].astype(float))
        target = _population_with(request["shares"], request["num_target"])
        start = time.perf_counter()
        result = rake(
            sample,
            weight,
            target,
            pd.Series(np.ones(len(target))),
            variables=names,
            transformations=None,
            max_iteration=1000,
            convergence_threshold=1e-7,
        )
        seconds = time.perf_counter() - start
        new = np.asarray(result["weight"], dtype=float)
        errors = []
        for name in names:
            found = np.bincount(arrays[name], weights=new, minlength=len(request["shares"][name])) / new.sum()
            wanted = target[name].astype(int).value_counts(normalize=True).sort_index().to_numpy()
            errors.append(float(np.abs(found / wanted - 1).max()))
        print(json.dumps({"seconds": seconds, "max_error": max(errors)}), flush=True)


def _population_with(shares: dict[str, list[float]], num_rows: int) -> pd.DataFrame:
    """A target sample whose margins are the shares, as `balance` takes targets as samples."""
    columns = {}
    for name, share in shares.items():
        bounds = np.round(np.cumsum(share) * num_rows).astype(int)
        bounds[-1] = num_rows
        columns[name] = np.repeat(np.arange(len(share)), np.diff(bounds, prepend=0)).astype(str)
    return pd.DataFrame(columns)


if __name__ == "__main__":
    main()
