"""What learns in a training: the student, its auxiliary heads, their optimiser, and the noise of every step.

Legend: N stacked agents, Z identity, V events, D text embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from assets.distillation.auxiliary_heads import AuxiliaryHeads
from assets.distillation.schedule import TrainingSettings
from model.lsm.config import LSMConfig
from model.lsm.inputs import Question
from model.lsm.lsm import LSM
from model.lsm.state import State


class Learner:
    """A student in training.

    Attributes:
        model: the student.
        heads: what only training reads from it.
        settings: how to train.
        noise: generator of all that is left to chance after the initial weights.
    """

    def __init__(
        self,
        config: LSMConfig,
        questions: Sequence[Question],
        embedding_VD: Tensor,
        seed: int,
        settings: TrainingSettings,
    ) -> None:
        """Draws the initial weights.

        Args:
            config: sizes of the student; how many texts it knows is set here.
            questions: every question that is learned.
            embedding_VD: texts of every event that is learned.
            seed: fixes initial weights and noise.
            settings: how to train.
        """
        config = replace(config, num_known_questions=len(questions), num_known_events=len(embedding_VD))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = LSM(config)
            self.heads = AuxiliaryHeads(config)
        self.model.know_texts(questions, embedding_VD)
        self.settings = settings
        self.noise = torch.Generator().manual_seed(seed)
        residuals = list(self.model.initial.residual_parameters())
        known = {id(parameter) for parameter in residuals}
        others = [item for item in (*self.model.parameters(), *self.heads.parameters()) if id(item) not in known]
        self._optimiser = torch.optim.AdamW(
            [{"params": others, "pace": 1.0}, {"params": residuals, "pace": settings.residual_pace}],
            lr=settings.largest_learning_rate,
            weight_decay=settings.weight_decay,
        )

    def set_learning_rate(self, rate: float) -> None:
        """Sets the rate of the next steps, which each group of parameters takes at its own pace."""
        for group in self._optimiser.param_groups:
            group["lr"] = group["pace"] * rate

    def weighted_sum(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum of losses by name, each with its weight in `losses.LossWeights`."""
        weights = self.settings.weights
        return sum((getattr(weights, name) * loss for name, loss in losses.items()), start=torch.zeros(()))

    def descend(self, losses: Mapping[str, Tensor]) -> None:
        """One step of the optimiser down the weighted sum of losses.

        Raises:
            FloatingPointError: the sum is not finite.
        """
        total = self.weighted_sum(losses)
        if not bool(torch.isfinite(total)):
            found = ", ".join(f"{name} {float(loss.detach()):.3g}" for name, loss in losses.items())
            raise FloatingPointError(
                f"The training loss is not finite ({found}). Lower largest_learning_rate, or check the channels of the "
                "traces."
            )
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.largest_gradient_norm)
        self._optimiser.step()

    def next_seed(self) -> int:
        """A seed for a draw of people."""
        return int(torch.randint(2**40, (1,), generator=self.noise))

    def drop_identity(self, state: State) -> State:
        """Inverted dropout of the identity, Srivastava et al. (2014), section 10."""
        share = self.settings.identity_dropout
        is_kept_NZ = torch.rand(state.identity_NZ.shape, generator=self.noise) >= share
        return replace(state, identity_NZ=state.identity_NZ * is_kept_NZ / (1 - share))

    def optimiser_tensors(self) -> dict[str, Tensor]:
        """The optimiser's tensors as `<number of parameter>/<name>`, which `set_optimiser_tensors` takes."""
        return {
            f"{number}/{name}": value
            for number, entry in self._optimiser.state_dict()["state"].items()
            for name, value in entry.items()
        }

    def set_optimiser_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Sets the optimiser to where it stood when its tensors were taken."""
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            number, name = key.split("/", 1)
            state.setdefault(int(number), {})[name] = value
        self._optimiser.load_state_dict({**self._optimiser.state_dict(), "state": state})
