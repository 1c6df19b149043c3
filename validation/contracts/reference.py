"""The reference page of the tables, written from their contracts; `make docs` stores what this module prints."""

from validation.contracts import CONTRACTS, TableContract

INTRODUCTION = """# Tables

Every table is a Delta table under `POPULACE_HOME/tables`, and `populace query` answers DuckDB SQL over all of them by
name. A table's contract is checked before every write and again as a blocking check in Dagster; rows that break it are
never stored. The contracts themselves are in `validation/contracts/`; `make docs` writes this page from them.

Besides the columns below, every row has `run_id` (String): the Dagster run that wrote it. Units are in the names:
`_usd` is U.S. dollars, `_ms` milliseconds, `_pct` per cent; shares and probabilities without a suffix lie between 0
and 1. Columns are required unless they are marked as allowing null.

```bash
populace query "describe agents"
```
"""


def render_reference() -> str:
    """The page as Markdown: one part per group, one section per table, one row per column."""
    parts = [INTRODUCTION]
    group = ""
    for contract in CONTRACTS.values():
        if contract.group != group:
            group = contract.group
            parts.append(f"## {group.capitalize()}\n")
        parts.append(_section(contract))
    return "\n".join(parts)


def _section(contract: TableContract) -> str:
    facts = [f"One row per {contract.row}."]
    if contract.key:
        facts.append(f"Key: {', '.join(f'`{name}`' for name in contract.key)}.")
    if contract.partition_by:
        facts.append(f"Partitioned by {', '.join(f'`{name}`' for name in contract.partition_by)}.")
    if contract.may_be_empty:
        facts.append("Empty where its sources are not at hand.")
    if contract.allows_other_columns:
        facts.append(f"Further columns match `{contract.allows_other_columns}`: answers to survey items, by label.")
    rows = [
        f"| `{name}` | {column.dtype} | {'yes' if column.nullable else ''} | {column.description} |"
        for name, column in contract.columns.items()
    ]
    header = ["| column | type | null | meaning |", "|---|---|---|---|"]
    return "\n".join([f"### `{contract.name}`", "", " ".join(facts), "", *header, *rows, ""])


if __name__ == "__main__":
    print(render_reference(), end="")
