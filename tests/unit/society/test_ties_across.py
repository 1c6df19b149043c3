"""Ties between areas: who is tied with whom, and an order in which few areas are needed at once."""

from dataclasses import replace

import numpy as np
import pytest

from assets.society.tie_config import load_tie_config
from assets.society.tie_graph import AreaTies
from assets.society.ties_across import MOST_PARTNERS, along_ring, plan_across


def plans(num_areas):
    config = load_tie_config()
    wanted = [dict.fromkeys(config.rules, 100 + area) for area in range(num_areas)]
    return plan_across(wanted, np.arange(1, num_areas + 1), 7, config), wanted


@pytest.mark.parametrize("num_areas", [2, 9, 60, 61, 200])
def test_along_the_ring_every_pair_of_areas_is_formed_once(num_areas):
    across, _ = plans(num_areas)
    steps = along_ring(across, num_areas, 7)
    assert sorted(area for area, _ in steps) == list(range(num_areas))
    assert all(area in plan[:2] for area, ahead in steps for plan in ahead)
    assert sorted(plan[:2] for _, ahead in steps for plan in ahead) == sorted(plan[:2] for plan in across)


def test_along_the_ring_few_areas_are_at_hand():
    num_areas = 200
    steps = along_ring(plans(num_areas)[0], num_areas, 7)
    place_of = {area: place for place, (area, _) in enumerate(steps)}
    for area, ahead in steps:
        partners = [plan[1] if plan[0] == area else plan[0] for plan in ahead]
        assert [(place_of[other] - place_of[area]) % num_areas for other in partners] == list(
            range(1, MOST_PARTNERS // 2 + 1)
        )


def test_whole_ties_are_shared_out_in_all():
    across, wanted = plans(120)
    for name in load_tie_config().rules:
        assert sum(plan[2][name] for plan in across) == sum(area[name] for area in wanted)


def test_a_one_sided_tie_unbalances_the_whole():
    offset_N1, types = np.array([0, 1, 2, 4]), np.array([1, 1, 2, 4], np.uint8)
    mutual = AreaTies(10, offset_N1, np.array([11, 10, 13, 0], np.int32), types, np.ones(4, np.float32))
    other = AreaTies(13, np.array([0, 1]), np.array([12], np.int32), np.array([2], np.uint8), np.ones(1, np.float32))
    assert (mutual.imbalance() + other.imbalance()) % 2**64 == 0
    assert mutual.imbalance() != 0
    of_another_type = replace(other, type_E=np.array([3], np.uint8))
    assert (mutual.imbalance() + of_another_type.imbalance()) % 2**64 != 0
