"""`populace traces export` and `import --requests`: batches of the stored plan that somebody runs by hand."""

from collections.abc import Sequence
from pathlib import Path

from assets.traces.definitions import asking_options
from assets.traces.outside_batches import export_requests, import_batch
from orchestration.recipes import find_recipe
from orchestration.settings import Settings
from orchestration.table_store import TableStore


def write_out(settings: Settings, target: Path) -> str:
    """Writes the next requests of the stored plan; says what to do with them.

    Raises:
        TableMissing: no run has made the plan yet.
        OutsideBatchError: all that comes next is in a batch at the server.
    """
    store = TableStore(settings.tables_dir)
    names = ("elicitation_plan", "scenarios", "agents", "ties", "media_sources")
    num_requests = export_requests(
        *(store.read(name) for name in names),
        ledger_path=settings.ledger_path,
        options=asking_options(settings),
        seed=find_recipe(settings.recipe).seed,
        target=target,
    )
    if not num_requests:
        return "Every request of the plan is answered; populace run puts the answers into reasoning_traces."
    return (
        f"{num_requests:,} requests in {target}. Run them as a batch, then: populace traces import --requests {target} "
        "OUTPUT.jsonl; what follows from their answers is exported after that."
    )


def bring_in(settings: Settings, requests: Path, outputs: Sequence[Path]) -> str:
    """Puts the output of a batch into the ledger; says what it held.

    Raises:
        TableMissing: no run has made the plan yet.
        OutsideBatchError: files or lines are not those of the plan.
    """
    plan = TableStore(settings.tables_dir).read("elicitation_plan")
    found = import_batch(settings.ledger_path, plan, requests, outputs)
    return (
        f"{found.num_answers:,} answers, {found.num_failures:,} failures, {found.num_known:,} known before; "
        f"{found.cost_usd:,.4f} USD. They are in the ledger and will not be asked again."
    )
