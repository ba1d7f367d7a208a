"""Markdown with pictures → one HTML file that asks for nothing from outside."""

from __future__ import annotations

import base64
import html
import struct
from pathlib import Path

from markdown_it import MarkdownIt

from overtone.errors import RunError

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #59636e; --rule: #d8dee4; --paper: #ffffff;
  --band: #f6f8fa; --accent: #0072b2; --loud: #b42318; --loud-band: #fef3f2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9198a1; --rule: #3d444d;
  --paper: #0d1117; --band: #161b22; --accent: #56b4e9; --loud: #ff9b8e; --loud-band: #2d1512; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 66rem; color: var(--ink);
  background: var(--paper); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .75rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: 1rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
h4 { font-size: .95rem; color: var(--faint); margin: 1.25rem 0 .5rem; }
h1 + p, h1 + ul { font-size: 1.12rem; }
ul { max-width: 46rem; margin: .6rem 0; padding-left: 1.25rem; }
li { margin: .35rem 0; }
p { max-width: 46rem; margin: .6rem 0; }
.table { overflow-x: auto; margin: .75rem 0 1.25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 600; color: var(--faint); border-bottom-width: 2px; vertical-align: bottom; }
tbody tr:nth-child(even) { background: var(--band); }
td[style*=right] { white-space: nowrap; }
table:has(th:nth-child(8)) { font-size: .73rem; }
table:has(th:nth-child(8)) :is(th, td) { padding: .35rem .4rem; }
img { display: block; max-width: 100%; height: auto; margin: 1rem 0; padding: .75rem; background: #ffffff;
  border: 1px solid var(--rule); border-radius: 8px; }
code { font: .88em ui-monospace, "Cascadia Mono", Consolas, monospace; background: var(--band);
  padding: .1em .3em; border-radius: 4px; overflow-wrap: anywhere; }
pre { background: var(--band); border: 1px solid var(--rule); border-radius: 8px; padding: .8rem 1rem;
  overflow-x: auto; }
pre code { padding: 0; background: none; }
blockquote { margin: 1rem 0; padding: .4rem 1.1rem; border-left: 4px solid var(--loud); color: var(--loud);
  background: var(--loud-band); border-radius: 0 8px 8px 0; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}</body>
</html>
"""


def page(markdown: str, title: str, folder: Path) -> str:
    """Render Markdown as a whole HTML page; HTML in it is shown, not obeyed.

    Args:
        markdown: CommonMark with tables and with PNG pictures of the folder; links stay text.
        title: of the browser's tab.
        folder: where the pictures' paths start.

    Raises:
        RunError: a picture is missing.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "autolink"])
    tokens = parser.parse(markdown)
    for block in tokens:
        for token in block.children or ():
            if token.type == "image":
                token.attrs |= _inlined(folder / str(token.attrs["src"]))
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="table"><table>').replace("</table>", "</table></div>")
    return PAGE.format(title=html.escape(title), style=STYLE, body=body)


def _inlined(path: Path) -> dict[str, str | int | float]:
    """A PNG file as a data URI, and the size at which it is sharp: two of its pixels to one of the page."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"the picture {path} is missing", hint="make the report again") from error
    width, height = struct.unpack(">II", data[16:24])  # the header chunk comes first in every PNG
    source = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"src": source, "width": width // 2, "height": height // 2}
