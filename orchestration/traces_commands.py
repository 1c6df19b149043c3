"""What `populace traces` prints: the cost of an elicitation before it begins, and what the ledger holds."""

from collections.abc import Collection

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from assets.traces.definitions import asking_options, teacher_endpoint
from assets.traces.embedded_teacher.teacher import MODEL_FAMILY
from assets.traces.encoders import NotingEncoder, host_of
from assets.traces.endpoint_encoder import encoder_name
from assets.traces.estimates import estimate, estimate_embeddings, known_requests, ledger_state
from assets.traces.panel import choose_panel
from assets.traces.plan import plan_elicitation
from assets.traces.prices import OTHER, find_price, prices_dated
from assets.traces.recorded_answers.codebook import find_recorded_codebooks
from assets.traces.recorded_answers.questions import recorded_questions_table
from assets.traces.scenario_files import read_scenarios
from assets.traces.scenario_table import scenarios_table
from assets.traces.teachers import open_teacher
from orchestration.recipes import find_recipe
from orchestration.settings import Settings
from orchestration.table_store import TableStore

MOST_FAILURES = 20


def print_estimate(settings: Settings, console: Console) -> None:
    """Prints requests, tokens and cost per model and pass; nothing is sent and nothing is written."""
    recipe, store = find_recipe(settings.recipe), TableStore(settings.tables_dir)
    endpoint = teacher_endpoint(settings)
    noting = NotingEncoder()
    scenarios = scenarios_table(read_scenarios(settings.scenarios_dir), noting)
    model = str(endpoint.model or MODEL_FAMILY)
    if endpoint.base_url is None and store.exists("survey_respondents"):
        model = open_teacher(endpoint, store.read("survey_respondents"), scenarios).model
    has_population = store.exists("agents") and store.exists("ties")
    panel = (
        choose_panel(store.read("agents"), store.read("ties"), recipe.panel_size, recipe.seed).tolist()
        if has_population
        else list(range(recipe.panel_size))
    )
    plan = plan_elicitation(
        scenarios,
        panel,
        teacher=endpoint.label,
        model=model,
        max_timesteps=recipe.max_timesteps,
        repeat_share=recipe.repeat_share,
        num_draws=recipe.num_draws,
        seed=recipe.seed,
    )
    known = known_requests(settings.ledger_path)
    found = estimate(plan, known)
    for (name,), rows in found.group_by("model", maintain_order=True):
        columns = ("requests", "known", "tokens in", "out", "live $", "batch $")
        table = _table(f"{name} at {endpoint.label}", "pass", *columns)
        for row in rows.iter_rows(named=True):
            counts = (row[key] for key in ("num_requests", "num_known", "prompt_tokens", "completion_tokens"))
            dollars = (row[key] for key in ("live_usd", "batch_usd"))
            table.add_row(row["elicitation_pass"], *(f"{n:,}" for n in counts), *(f"{n:,.2f}" for n in dollars))
        console.print(table)
    options = asking_options(settings)
    total = float(found[f"{options.mode}_usd"].sum()) + _print_embeddings(settings, noting, known, console)
    console.print(
        f"Expected to cost {total:,.2f} USD in {options.mode} mode, recipe {recipe.name}; the budget is "
        f"{options.budget_usd:,.2f} USD. Known requests are in the ledger and not counted. "
        f"Prices dated {prices_dated()}, entry {find_price(model).entry!r}.",
        soft_wrap=True,
    )
    for name in (model, settings.embedding_model):
        if name is not None and find_price(name).entry == OTHER:
            console.print(
                f"{name} is not in assets/traces/prices.yaml, so the dearest price is assumed. Add a line for it.",
                soft_wrap=True,
            )
    if not has_population:
        console.print("There is no population yet: numbers of redraws may differ a little.", soft_wrap=True)


def _print_embeddings(settings: Settings, noting: NotingEncoder, known: Collection[str], console: Console) -> float:
    """Prints what encoding all texts will cost, benchmarks and recorded questions included, and returns it in USD."""
    if settings.embedding_model is None or settings.teacher_base_url is None:
        return 0.0
    benchmarks = settings.scenarios_dir / "benchmarks"
    if benchmarks.is_dir():
        scenarios_table(read_scenarios(benchmarks), noting)
    recorded_questions_table(find_recorded_codebooks(settings.data_dir, settings.recorded_dir), noting)
    name = encoder_name(settings.embedding_model, host_of(settings.teacher_base_url))
    row = estimate_embeddings(noting.texts, name, known)
    table = _table(f"text encoder {name}", "texts", "known", "tokens in", "live $")
    table.add_row(*(f"{row[key]:,}" for key in ("num_texts", "num_known", "prompt_tokens")), f"{row['live_usd']:,.4f}")
    console.print(table)
    return float(row["live_usd"])


def print_ledger(settings: Settings, console: Console) -> None:
    """Prints what was bought, what failed and why, and which batches are still at the server."""
    state = ledger_state(settings.ledger_path)
    for row in state.by_model.iter_rows(named=True):
        table = _table(row["model"], "answers", "refusals", "tokens in", "cached", "out", "USD")
        names = ("num_answers", "num_refusals", "prompt_tokens", "cached_tokens", "completion_tokens")
        table.add_row(*(f"{row[name]:,}" for name in names), f"{row['cost_usd']:,.4f}")
        console.print(table)
    console.print(
        f"Spent {state.spent_usd:,.4f} USD, replies that could not be used among them; answers that never came may "
        f"have cost up to {state.unconfirmed_usd:,.4f} USD more.",
        soft_wrap=True,
    )
    for batch in state.open_batches.iter_rows(named=True):
        console.print(
            f"open batch {batch['remote_id'] or '(not known to be created)'} of {batch['num_requests']:,} requests to "
            f"{batch['model']} at {batch['teacher']}; the next run collects it",
            soft_wrap=True,
        )
    for row in state.failures.head(MOST_FAILURES).iter_rows(named=True):
        console.print(
            f"failed {row['custom_id'][:16]}… after {row['num_attempts']}: {row['reason']}",
            soft_wrap=True,
            markup=False,
        )
    if state.failures.height > MOST_FAILURES:
        console.print(f"… and {state.failures.height - MOST_FAILURES:,} more failed requests")


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=True, justify="left" if column == "pass" else "right")
    return table
