"""Makes the pages of Great Expectations self-contained: nothing on them is loaded from the network.

The pages name style sheets, scripts and pictures on other hosts. Those are taken out and one small style sheet is put
in, so that tables, lists and signs of what passed read well without a network and no visitor is announced to anybody.
The index of the site, whose table only those scripts can draw, is written anew as a plain table of results.
"""

import os
import re
from html import escape
from pathlib import Path

REMOTE_TAG = re.compile(
    r"<link\b[^>]*href=[\"']https?://[^>]*>"
    r"|<script\b[^>]*src=[\"']https?://[^>]*>\s*</script>"
    r"|<img\b[^>]*src=[\"']https?://[^>]*>",
    re.IGNORECASE,
)
ICON_TAG = re.compile(r"<link\b[^>]*rel=[\"']shortcut icon[\"'][^>]*>", re.IGNORECASE)
"""Great Expectations names its icon one folder too high on pages of results, where there is no file."""

REMOTE_IN_STYLE = re.compile(r"url\(\s*[\"']?https?://[^)]*\)", re.IGNORECASE)
STYLE = """<style>
body{font:15px/1.5 system-ui,sans-serif;margin:1.5rem auto;max-width:72rem;padding:0 1rem;color:#222;background:#fff}
table{border-collapse:collapse;margin:.5rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left;
vertical-align:top}ul{padding-left:1.2rem}.collapse{display:block!important}nav,.modal,button{display:none}
footer{display:none}
.fa-check-circle::before{content:"\\2713"}.fa-times::before{content:"\\2717"}
.fa-exclamation-triangle::before{content:"!"}body:has(#option2:checked) tr:has(>td>.fa-check-circle){display:none}
.text-success{color:#1f7a4d}.text-danger{color:#b3261e}h1,h2,h3,h4,h5{line-height:1.25}
@media (prefers-color-scheme:dark){body{background:#16181b;color:#ddd}td,th{border-color:#444}a{color:#8ab4f8}}
</style>"""

STATUS = re.compile(r"Status:\s*</span>\s*<i\b[^>]*></i>\s*(\w+)")


def make_offline(site_dir: Path) -> int:
    """Rewrites every page of a site without references to the network; returns the number of pages.

    Args:
        site_dir: folder of one Data Docs site.
    """
    pages = sorted(site_dir.rglob("*.html"))
    index = site_dir / "index.html"
    for page in pages:
        text = page.read_text(encoding="utf-8")
        text = REMOTE_IN_STYLE.sub("none", ICON_TAG.sub("", REMOTE_TAG.sub("", text)))
        if STYLE not in text:
            home = f'<p><a href="{os.path.relpath(index, page.parent)}">All results</a></p>'
            text = text.replace("</head>", f"{STYLE}</head>", 1).replace("<body>", f"<body>{home}", 1)
        _write(page, _index_page(site_dir) if page == index else text)
    return len(pages)


def _index_page(site_dir: Path) -> str:
    """Every result with its status, its suite and when it was checked; failures first."""
    found = []
    for page in site_dir.glob("validations/**/*.html"):
        suite, *_, moment, _ = page.relative_to(site_dir / "validations").parts
        status = STATUS.search(page.read_text(encoding="utf-8"))
        found.append(
            (moment, suite, status.group(1) if status else "not stated", page.relative_to(site_dir).as_posix())
        )
    rows = "".join(
        f'<tr><td>{escape(status)}</td><td><a href="{escape(address)}">{escape(suite)}</a></td>'
        f'<td><a href="expectations/{escape(suite)}.html">rules</a></td><td>{escape(moment)}</td></tr>'
        for moment, suite, status, address in sorted(found, key=lambda row: (row[2] != "Failed", row[1], row[0]))
    )
    failed = sum(status == "Failed" for _, _, status, _ in found)
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="UTF-8"><title>Data Docs</title>{STYLE}</head><body>'
        f"<h1>Data Docs</h1><p>{len(found)} results, {failed} of them failed; failures first.</p>"
        "<table><thead><tr><th>status</th><th>suite</th><th>what it expects</th><th>checked at (UTC)</th>"
        f"</tr></thead><tbody>{rows}</tbody></table></body></html>"
    )


def _write(page: Path, text: str) -> None:
    draft = page.with_suffix(".draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(page)
