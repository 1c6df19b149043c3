"""Runs a measurement in a process of its own, so that its peak memory is its own and it leaves none behind."""

import multiprocessing
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch

from benchmarks.timing import Row

NUM_THREADS = 2


def in_own_process(measure: Callable[[], Row]) -> Row:
    """The row that a function of a module measures, with the peak memory of its process in the note."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, measure).result()


def _measure(measure: Callable[[], Row]) -> Row:
    torch.set_num_threads(NUM_THREADS)
    row = measure()
    peak = f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.1f} GiB"
    return replace(row, note=f"{row.note}; {peak}" if row.note else peak)
