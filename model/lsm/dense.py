"""Dense layers whose result for an agent has the same bits however many agents are computed with it.

Matrix products choose their inner loops by shape: a few rows or columns at an edge, or at the edge of a thread's part,
are summed in another order than the rest. Rows and columns are therefore padded to whole lanes, which leaves one loop.
Of the smooth functions only those are used whose vectorised and scalar forms agree to the bit (tanh, exp), and gelu on
whole lanes alone.

Legend: N agents, I inputs, O outputs.
"""

import torch
from torch import Tensor, nn

ROW_LANE = 64
COLUMN_LANE = 16


def sigmoid(value: Tensor) -> Tensor:
    """1 / (1 + exp(−x)) through tanh, whose bits do not depend on where threads split a tensor; torch.sigmoid's do."""
    return 0.5 + 0.5 * torch.tanh(0.5 * value)


class Dense(nn.Linear):
    """A linear layer on agents; row i of the output depends, to the bit, on row i of the input alone."""

    def forward(self, input: Tensor) -> Tensor:
        """[N, I] → [N, O]."""
        return self.padded(input)[: len(input), : self.out_features]

    def padded(self, input: Tensor) -> Tensor:
        """[N, I] → [N, O], both filled up to whole lanes."""
        missing_rows = -len(input) % ROW_LANE
        missing_columns = -self.out_features % COLUMN_LANE
        if missing_rows:
            input = nn.functional.pad(input, (0, 0, 0, missing_rows))
        weight_OI, bias_O = self.weight, self.bias
        if missing_columns:
            weight_OI = nn.functional.pad(weight_OI, (0, 0, 0, missing_columns))
            bias_O = bias_O if bias_O is None else nn.functional.pad(bias_O, (0, missing_columns))
        return nn.functional.linear(input, weight_OI, bias_O)


class DenseBlock(nn.Module):
    """Two dense layers with a smooth non-linearity between them."""

    def __init__(self, num_inputs: int, num_hidden: int, num_outputs: int) -> None:
        super().__init__()
        self.hidden = Dense(num_inputs, num_hidden)
        self.out = Dense(num_hidden, num_outputs)

    def forward(self, input_NI: Tensor) -> Tensor:
        """[N, I] → [N, O]."""
        # gelu's bits depend on where a row ends, unless rows fill whole lanes.
        hidden_NH = nn.functional.gelu(self.hidden.padded(input_NI))
        return self.out(hidden_NH[: len(input_NI), : self.hidden.out_features])


class GatedMemory(nn.Module):
    """A gated recurrent unit on dense layers: the running summary of what an agent took in.

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder–decoder, equations 5–8.
    """

    def __init__(self, num_inputs: int, num_memory: int) -> None:
        super().__init__()
        self.gates = Dense(num_inputs + num_memory, 2 * num_memory)
        self.candidate = Dense(num_inputs + num_memory, num_memory)

    def forward(self, input_NI: Tensor, memory_NS: Tensor, reached_N: Tensor) -> Tensor:
        """The next summary [N, S]; entries stay in −1 … 1 when they begin there, and as they are where nothing reached.

        `reached_N`, 0 … 1, is how far anything reached the agent.
        """
        whole_NI = torch.cat([input_NI, memory_NS], 1)
        reset_NS, keep_NS = sigmoid(self.gates(whole_NI)).chunk(2, 1)
        if torch.is_grad_enabled():
            whole_NI = torch.cat([input_NI, reset_NS * memory_NS], 1)
        else:
            torch.mul(reset_NS, memory_NS, out=whole_NI[:, input_NI.shape[1] :])
        candidate_NS = torch.tanh(self.candidate(whole_NI))
        return memory_NS + reached_N[:, None] * (1 - keep_NS) * (candidate_NS - memory_NS)


def bounded_score(query_NF: Tensor, key_F: Tensor, limit: float = 8.0) -> Tensor:
    """Scaled dot product of every agent with one key, squashed to ±limit so that exp never overflows; [N]."""
    raw_N = (query_NF * key_F).sum(1) / len(key_F) ** 0.5
    return limit * torch.tanh(raw_N / limit)
