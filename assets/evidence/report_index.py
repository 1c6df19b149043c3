"""The index of reports: one page that lists every run's report, newest first, with its standing."""

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.4rem;text-align:left}"
    "@media (prefers-color-scheme:dark){body{background:#16181b;color:#ddd}a{color:#8ab4f8}}"
)
COLUMNS = ("created", "recipe", "teacher", "student", "losing", "failed_gates")
NOTE = "run.json"


def note_run(folder: Path, facts: Mapping[str, str]) -> None:
    """Leaves what the index says of a run beside its report.

    Args:
        folder: the run's folder.
        facts: values of `COLUMNS`.
    """
    draft = folder / f"{NOTE}.draft"
    draft.write_text(json.dumps({name: facts[name] for name in COLUMNS}, indent=2), encoding="utf-8")
    draft.replace(folder / NOTE)


def write_index(reports_dir: Path) -> Path:
    """Writes `index.html` over every folder that holds a report; returns its path.

    Args:
        reports_dir: folder with one folder per run.
    """
    found = []
    for report in reports_dir.glob("*/report.html"):
        note = report.with_name(NOTE)
        facts = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        found.append(
            (str(facts.get("created", "")), report.parent.name, facts, report.with_name("report.pdf").is_file())
        )
    rows = []
    for created, run_id, facts, has_pdf in sorted(found, reverse=True):
        cells = [created or "not noted", *(str(facts.get(name, "not noted")) for name in COLUMNS[1:])]
        links = f'<a href="{escape(run_id)}/report.html">{escape(run_id[:8])}</a>'
        links += f' <a href="{escape(run_id)}/report.pdf">PDF</a>' if has_pdf else ""
        rows.append(f"<tr><td>{links}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    headings = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in ("run", *COLUMNS))
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Populace reports</title>'
        f"<style>{STYLE}</style></head><body><h1>Validation reports</h1>"
        f"<p>{len(rows)} {'run' if len(rows) == 1 else 'runs'}, newest first. "
        f"Drift between runs is a section of each report.</p>"
        f"<table><thead><tr>{headings}</tr></thead><tbody>{''.join(rows)}</tbody></table></body></html>"
    )
    target = reports_dir / "index.html"
    draft = target.with_suffix(".draft")
    draft.write_text(page, encoding="utf-8")
    draft.replace(target)
    return target
