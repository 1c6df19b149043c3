"""What a run says at its end: decision shares with intervals, the report's path, how to open the interfaces."""

from rich.console import Console
from rich.table import Table

from assets.simulation.decisions import decision_summary
from orchestration.records import Records
from orchestration.settings import Settings
from orchestration.table_store import TableStore

NARROWEST = 110
"""Columns that the table of shares needs; a narrower terminal wraps it rather than cutting figures off."""


def print_decision_shares(settings: Settings) -> None:
    """Prints, per scenario and option, the final share with its 95 % interval, beside baseline and mechanism."""
    store = TableStore(settings.tables_dir)
    summary = decision_summary(store.read("outcomes"), store.read("scenarios"))
    table = Table(title="Decision shares at the last timestep (95 % interval over agents and replicates)")
    for name, justify in (
        ("scenario", "left"),
        ("option", "left"),
        ("share", "right"),
        ("95 % interval", "right"),
        ("baseline scenario", "right"),
        ("mechanistic opinion", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # pyright: ignore[reportArgumentType]
    previous = None
    for row in summary.iter_rows(named=True):
        if previous not in (None, row["scenario_id"]):
            table.add_section()
        table.add_row(
            row["scenario_id"] if row["scenario_id"] != previous else "",
            row["option"],
            f"{row['share']:.1%}",
            f"{row['lower']:.1%} … {row['upper']:.1%}",
            _share(row["baseline_share"]),
            _share(row["opinion_share"]),
        )
        previous = row["scenario_id"]
    Console(width=max(NARROWEST, Console().width)).print(table)


def print_run_summary(settings: Settings) -> None:
    """Prints the decision shares, the student's standing, the report's path and how to open the interfaces."""
    print_decision_shares(settings)
    records = Records(settings.records_dir)
    student, report = records.read("student_model"), records.read("validation_report")
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Student: version {student['version']}, alias {student['alias']}. {student['verdict']}")
    console.print(f"Report:  {report['path']}")
    console.print(
        f"Open:    make up   (Dagster http://127.0.0.1:{settings.dagster_port}, "
        f"MLflow http://127.0.0.1:{settings.mlflow_port})"
    )
    console.print("Ask:     populace query \"select scenario_id, option, share from outcomes where segment = 'all'\"")


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"
