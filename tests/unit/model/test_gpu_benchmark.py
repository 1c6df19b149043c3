"""The benchmark for graphics processors: what it runs, on any device, and the bytes that it states."""

from dataclasses import replace

import pytest
import torch

from benchmarks import gpu
from benchmarks.societies import CONFIG


@pytest.mark.parametrize("changes", [{}, gpu.LARGEST])
def test_what_is_measured_runs_and_its_bytes_are_as_counted(changes):
    config = replace(CONFIG, expression_storage="bfloat16", **changes)
    town = gpu.make_town(1_000, config, "cpu")
    with torch.no_grad():
        town.timestep()
        town.attention()
        final = town.roll_on(3, is_captured=True)
    assert final.num_agents == 1_000
    assert not torch.equal(final.channels_NK, town.state.channels_NK)
    size = 2 if changes else 4
    static = size * (config.identity_dim + 5) + 2
    dynamic = size * (config.num_channels + config.latent_dim + config.memory_dim + 1 + config.expression_dim)
    dynamic += config.num_episode_slots * (4 + 4 + 2 * size)
    ties = gpu.TIES_PER_AGENT * (4 + 1 + 4 + 4) + 8 + 1
    assert gpu.bytes_of(town) == 1_000 * (static + 2 * dynamic + ties) + 8
    expression, query = config.expression_dim, 4 * config.num_heads * config.expression_dim
    heard = gpu.TIES_PER_AGENT * (2 * expression + 4 + 1 + 4) + 2 * query + 4 * config.num_heads + 8
    assert gpu.bytes_heard(town) == 1_000 * heard + 8
    asked = size * (config.identity_dim + config.num_channels + config.latent_dim) + query
    halved = 0 if changes else (4 + 2) * expression
    moved = size * config.identity_dim + 2 * dynamic + query + 8 + 2 + 1 + 4 + 8 + 4
    assert gpu.bytes_moved(town) == 1_000 * (asked + halved + heard + moved) + 16


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a device")
def test_without_a_device_nothing_is_measured(capsys):
    assert gpu.main([]) == 2
    assert "nothing was measured" in capsys.readouterr().err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics processor")
def test_a_device_is_measured(capsys):
    assert gpu.main(["100000", "--largest", "--tf32"]) == 0
    said = capsys.readouterr().out
    assert "TB/s on this device" in said
    assert "with CUDA graphs" in said
