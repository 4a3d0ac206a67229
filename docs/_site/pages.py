"""MkDocs hook: which pages the site has besides docs/, and where links lead.

* Links that leave docs/ lead to a copy in the site: Markdown, notebooks and source text become pages under
  `repository/`, anything else is copied. Pages that are reached that way are followed too.
* The Python reference has one page per package, found by walking the packages.
* A folder in the navigation stands for its pages; `reference/python/` for the packages.

Knows no page by name.
"""

import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("service", "metalearn", "wtl")
COPIES = "repository"
NOTEBOOK = ".ipynb"
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", "Dockerfile": "docker"}
FENCED = re.compile(r"^(```.*?^```[^\n]*\n?)", re.DOTALL | re.MULTILINE)
RUN = re.compile(r"^```(\w+) run$", re.MULTILINE)
LINK = re.compile(r"(?<=\[)(?P<text>[^\[\]]*)\]\((?![a-z]+:|#|/)(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?=[)\s])")
HEADING = re.compile(r"^# +(.+)$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Expand the folders of the navigation."""
    config.nav = [_expanded(entry) for entry in config.nav or ()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files of docs/."""
    for name in packages():
        files.append(File.generated(config, f"reference/python/{name}.md", content=reference(name)))
    named = set(_leaves(config.nav or ()))
    for path in copies({source_of(name) for name in named if name.startswith(f"{COPIES}/")}):
        level = InclusionLevel.INCLUDED if copy_of(path) in named else InclusionLevel.NOT_IN_NAV
        language = _language(path)
        if path.endswith(NOTEBOOK):
            file = File.generated(config, copy_of(path), content=markdown_of(path), inclusion=level)
        elif language is None:
            file = File.generated(config, copy_of(path), abs_src_path=str(ROOT / path), inclusion=level)
        else:
            text = f"# {path}\n\n````{language}\n{(ROOT / path).read_text()}\n````\n"
            file = File.generated(config, copy_of(path), content=text, inclusion=level)
        files.append(file)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where the site has what they name, and show runnable blocks as code."""
    uri = page.file.src_uri
    source = uri.removeprefix(f"{COPIES}/") if uri.startswith(f"{COPIES}/") else f"docs/{uri}"
    parts = FENCED.split(markdown)
    parts[::2] = [LINK.sub(lambda link: _led(link, source, uri), text) for text in parts[::2]]
    return RUN.sub(r"```\1", "".join(parts))


def packages() -> list[str]:
    """Dotted names of the packages with modules of their own, migrations aside: those are steps, not an interface."""
    found = [
        folder.parent.relative_to(ROOT) for top in PACKAGES for folder in sorted((ROOT / top).rglob("__init__.py"))
    ]
    return [".".join(package.parts) for package in found if "migrations" not in package.parts]


def reference(package: str) -> str:
    """The page of a package: its own docstring, then its modules."""
    folder = ROOT.joinpath(*package.split("."))
    modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    body = "\n\n".join(f"::: {name}" for name in (package, *(f"{package}.{module}" for module in modules)))
    return f"# {package}\n\n{body}\n"


def copies(seeds: set[str]) -> set[str]:
    """Paths outside docs/ that the pages in docs/, those of `seeds` and what they lead to link to."""
    waiting = {str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")} | seeds
    seen: set[str] = set()
    while waiting - seen:
        page = (waiting - seen).pop()
        seen.add(page)
        if page.endswith((".md", NOTEBOOK)):
            waiting |= set(_targets(page))
    return {path for path in seen if not path.startswith("docs/")}


def copy_of(path: str) -> str:
    """Where the site has a file of the repository that is outside docs/."""
    return f"{COPIES}/{path}" + (".md" if _language(path) or path.endswith(NOTEBOOK) else "")


def source_of(copy: str) -> str:
    """The file of the repository that a page under `repository/` is a copy of."""
    path = copy.removeprefix(f"{COPIES}/")
    return path if (ROOT / path).is_file() else path.removesuffix(".md")


def markdown_of(path: str) -> str:
    """A file of the repository as Markdown: of a notebook its cells, with the code fenced; nothing is executed."""
    text = (ROOT / path).read_text()
    if not path.endswith(NOTEBOOK):
        return text
    cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
    return "\n\n".join(source if kind == "markdown" else f"```python\n{source}\n```" for kind, source in cells) + "\n"


def _targets(source: str) -> Iterator[str]:
    text = "".join(FENCED.split(markdown_of(source))[::2])
    for link in LINK.finditer(text):
        target = _resolved(link["target"], source)
        if target is not None:
            yield target


def _resolved(target: str, source: str) -> str | None:
    """The file of the repository that a link means; of a folder its README; None if there is none."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if (ROOT / path).is_dir():
        path = f"{path}/README.md"
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def _led(link: re.Match[str], source: str, uri: str) -> str:
    """A link as the site has it. What leads nowhere stays, and MkDocs says so."""
    target = _resolved(link["target"], source)
    if target is None:
        return link[0]
    new = target.removeprefix("docs/") if target.startswith("docs/") else copy_of(target)
    text = link["text"]
    if text.endswith(".md") and target.endswith(text):  # a reader of the site knows titles, not files
        heading = HEADING.search((ROOT / target).read_text())
        text = heading[1] if heading else text
    return f"{text}]({posixpath.relpath(new, posixpath.dirname(uri) or '.')}{link['anchor'] or ''}"


def _language(path: str) -> str | None:
    """What to highlight a file as; None: it is no source text, or Markdown."""
    return LANGUAGES.get(Path(path).suffix or Path(path).name)


def _expanded(entry: str | dict) -> str | dict:
    if isinstance(entry, str):
        return entry
    [(title, value)] = entry.items()
    if isinstance(value, list):
        return {title: [_expanded(one) for one in value]}
    if value == "reference/python/":
        return {title: [{name: f"{value}{name}.md"} for name in packages()]}
    if value.endswith("/"):
        pages = sorted((ROOT / "docs" / value).glob("*.md"), key=lambda path: (path.name != "README.md", path.name))
        return {title: [f"{value}{page.name}" for page in pages]}
    return entry


def _leaves(nav: list | tuple) -> Iterator[str]:
    for entry in nav:
        if isinstance(entry, str):
            yield entry
        else:
            [value] = entry.values()
            yield from _leaves(value) if isinstance(value, list) else [value]
