"""How large each stage is: three presets, in Python, named in commands and in every report."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Recipe:
    """Sizes of one run of the lineage; everything that scales with the machine, and nothing else.

    `panel_size` agents are elicited from the teacher; `repeat_share` of the requests are drawn `num_draws` times to
    measure the teacher's noise floor. `max_timesteps` caps the timesteps that scenario files ask for. `num_members`
    students are trained with different seeds. `num_ablations` parts of the student, and `num_scenario_splits` sets of
    questions, are left out in turn, each a training of its own. `num_item_splits` students are fitted to recorded
    answers, each with other unseen questions, where such answers are at hand.
    """

    name: str
    num_agents: int
    num_replicates: int
    max_timesteps: int
    panel_size: int
    repeat_share: float
    num_draws: int
    training_epochs: int
    num_members: int
    num_ablations: int
    num_scenario_splits: int
    num_item_splits: int
    seed: int = 20161108

    def __post_init__(self) -> None:
        if self.panel_size > self.num_agents:
            raise ValueError(f"Recipe {self.name}: panel_size {self.panel_size} exceeds num_agents {self.num_agents}.")

    def as_dict(self) -> dict[str, str | int | float]:
        """The recipe's fields, for metadata."""
        return asdict(self)


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="smoke",
            num_agents=600,
            num_replicates=1,
            max_timesteps=4,
            panel_size=36,
            repeat_share=0.08,
            num_draws=5,
            training_epochs=8,
            num_members=1,
            num_ablations=0,
            num_scenario_splits=1,
            num_item_splits=1,
        ),
        Recipe(
            name="laptop",
            num_agents=10_000,
            num_replicates=2,
            max_timesteps=12,
            panel_size=160,
            repeat_share=0.05,
            num_draws=5,
            training_epochs=60,
            num_members=2,
            num_ablations=1,
            num_scenario_splits=3,
            num_item_splits=5,
        ),
        Recipe(
            name="full",
            num_agents=1_000_000,
            num_replicates=5,
            max_timesteps=52,
            panel_size=1_000,
            repeat_share=0.08,
            num_draws=5,
            training_epochs=200,
            num_members=3,
            num_ablations=100,
            num_scenario_splits=100,
            num_item_splits=5,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: no recipe has the name.
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown recipe {name!r}. Recipes: {', '.join(RECIPES)}. Choose one with --recipe.")
    return RECIPES[name]
