"""Makes the pages of Great Expectations self-contained: nothing on them is loaded from the network.

The pages name style sheets, scripts and pictures on other hosts. Those are taken out and one small style sheet is put
in, so that tables and lists read well without a network and no visitor is announced to anybody.
"""

import re
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
.text-success{color:#1f7a4d}.text-danger{color:#b3261e}h1,h2,h3,h4,h5{line-height:1.25}
@media (prefers-color-scheme:dark){body{background:#16181b;color:#ddd}td,th{border-color:#444}a{color:#8ab4f8}}
</style>"""


def make_offline(site_dir: Path) -> int:
    """Rewrites every page of a site without references to the network; returns the number of pages.

    Args:
        site_dir: folder of one Data Docs site.
    """
    pages = sorted(site_dir.rglob("*.html"))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        text = REMOTE_IN_STYLE.sub("none", ICON_TAG.sub("", REMOTE_TAG.sub("", text)))
        if STYLE not in text:
            text = text.replace("</head>", f"{STYLE}</head>", 1)
        draft = page.with_suffix(".draft")
        draft.write_text(text, encoding="utf-8")
        draft.replace(page)
    return len(pages)
