"""What the site has besides docs/*.md: pages from elsewhere in the repository, and one for each public name.

Pages link to each other as they lie in the repository, which is what GitHub follows. Here those links are led to where
the same pages are on the site; a file that isn't a page, such as a TOML, is laid beside them.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Pages that lie outside docs/, and where they are on the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "deployments/README.md": "deployments.md",
    "tests/README.md": "tests.md",
}
WHERE_FROM = {site: repository for repository, site in ELSEWHERE.items()}
DECISIONS = "decisions/"
LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")
NAMES = re.compile(r"^\| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)  # the first cell of a row of docs/api.md
CODE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def public_names() -> dict[str, list[str]]:
    """The public names, by the heading under which docs/api.md lists them."""
    _, *sections = re.split(r"^## ", (ROOT / "docs" / "api.md").read_text(), flags=re.MULTILINE)
    named = {text.partition("\n")[0]: re.findall(r"\w+", " ".join(NAMES.findall(text))) for text in sections}
    return named | {"Errors": ["SynthcoreError"]}


def on_config(config: MkDocsConfig) -> None:
    """Complete the navigation, and have drawings drawn."""
    for _, pages in (item for section in config.nav or () if isinstance(section, dict) for item in section.items()):
        if "api.md" in pages:
            groups = [{heading: [page_of(name) for name in names]} for heading, names in public_names().items()]
            pages[pages.index("api.md")] = {"Python": ["api.md", *groups]}
        if DECISIONS in pages:
            found = sorted(path.name for path in (ROOT / "docs" / DECISIONS).glob("*.md"))
            pages[pages.index(DECISIONS)] = {"Decisions": [DECISIONS + name for name in found]}
    fence = {"name": "mermaid", "class": "floors", "format": draw}
    config.mdx_configs["pymdownx.superfences"] = {"custom_fences": [fence]}


def page_of(name: str) -> str:
    """Where the page of a public name is on the site."""
    return f"reference/{name}.md"


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages that aren't in docs/."""
    for repository, site in ELSEWHERE.items():
        files.append(File.generated(config, site, abs_src_path=str(ROOT / repository)))
    for name in (name for names in public_names().values() for name in names):
        target = "synthcore.base.errors" if name == "SynthcoreError" else f"synthcore.{name}"
        files.append(File.generated(config, page_of(name), content=f"---\ntitle: {name}\n---\n\n::: {target}\n"))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where things are on the site, and names of the API to their pages."""
    here = WHERE_FROM.get(page.file.src_uri, f"docs/{page.file.src_uri}")

    def lead(link: re.Match[str]) -> str:
        there = posixpath.normpath(posixpath.join(posixpath.dirname(here), link[2]))
        target = placed(there, config, files)
        return link[1] + posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")

    def name(cell: re.Match[str]) -> str:
        return re.sub(r"`(\w+)`", lambda one: f"[{one[0]}]({page_of(one[1])})", cell[0])

    if page.file.src_uri.startswith("reference/"):
        return markdown
    if page.file.src_uri == "api.md":
        markdown = NAMES.sub(name, markdown)
        here = "docs/api.md"
    blocks = CODE.findall(markdown)
    return "".join(
        LINK.sub(lead, text) + block for text, block in zip(CODE.split(markdown), [*blocks, ""], strict=True)
    )


def placed(path: str, config: MkDocsConfig, files: Files) -> str:
    """Where on the site a file of the repository is; one that isn't there yet is laid there."""
    if path in ELSEWHERE:
        return ELSEWHERE[path]
    if (ROOT / path).is_dir():
        path = sorted(str(page.relative_to(ROOT)) for page in (ROOT / path).glob("*.md"))[0]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.endswith(".md"):
        raise PluginError(f"{path} is linked to, and no page of the site; add it to ELSEWHERE and to mkdocs.yml")
    site = f"files/{path}"
    if not files.get_file_from_path(site):
        files.append(File.generated(config, site, abs_src_path=str(ROOT / path)))
    return site


def draw(source: str, language: str, css_class: str, options: Any, md: Any, **more: Any) -> str:
    """Draw a Mermaid chart that is a tower: one box under another. GitHub draws any, by a script of megabytes."""
    boxes = re.findall(r'\b\w+\["([^"]+)"\]', source)
    if len(boxes) != source.count("-->") + 1:
        raise PluginError("only a chain of boxes is drawn on the site; extend `draw` in docs/site/pages.py")
    return f'<ol class="{css_class}">' + "".join(f"<li>{html.escape(box)}</li>" for box in boxes) + "</ol>"
