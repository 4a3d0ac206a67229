"""The hooks that make the documentation's site: links lead somewhere, and every package and call has its place."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def hook(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"site_{name}", ROOT / "docs" / "_site" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pages, rest = hook("pages"), hook("rest")
TITLE = (ROOT / "docs" / "api.md").read_text().partition("\n")[0].removeprefix("# ")


def led(markdown: str, source: str, uri: str) -> str:
    return pages.LINK.sub(lambda link: pages._led(link, source, uri), markdown)


@pytest.mark.parametrize(
    ("markdown", "source", "uri", "expected"),
    [
        ("[API](api.md#errors)", "docs/README.md", "README.md", "[API](api.md#errors)"),
        ("[why](decisions/)", "docs/README.md", "README.md", "[why](decisions/README.md)"),
        ("[log](../benchmarks/LOG.md)", "docs/api.md", "api.md", "[log](repository/benchmarks/LOG.md)"),
        ("[log](../../benchmarks/LOG.md)", "docs/tasks/a.md", "tasks/a.md", "[log](../repository/benchmarks/LOG.md)"),
        ("[API](docs/api.md)", "README.md", "repository/README.md", "[API](../api.md)"),
        ("![It](docs/images/report.png)", "README.md", "repository/README.md", "![It](../images/report.png)"),
        ("[one](../metalearn/adapter.py)", "docs/a.md", "a.md", "[one](repository/metalearn/adapter.py.md)"),
        ("[it](../examples/tutorial.ipynb)", "docs/a.md", "a.md", "[it](repository/examples/tutorial.ipynb.md)"),
        ("[api.md](api.md)", "docs/README.md", "README.md", f"[{TITLE}](api.md)"),
        ("[docs/api.md](docs/api.md)", "README.md", "repository/README.md", f"[{TITLE}](../api.md)"),
        ("[nowhere](no/such/page.md)", "docs/README.md", "README.md", "[nowhere](no/such/page.md)"),
        ("[out](../../etc/passwd)", "docs/README.md", "README.md", "[out](../../etc/passwd)"),
        ("[web](https://example.org/a.md) [up](#top)", "docs/README.md", "README.md", None),
    ],
)
def test_links_lead_to_where_the_site_has_what_they_name(markdown: str, source: str, uri: str, expected: str | None):
    assert led(markdown, source, uri) == (markdown if expected is None else expected)


def test_what_the_pages_link_to_outside_docs_comes_along_with_what_that_links_to():
    found = pages.copies({"README.md"})
    assert {"README.md", "CONTRIBUTING.md", "examples/own_task.py"} <= found
    assert not any(path.startswith("docs/") for path in found)
    assert all((ROOT / path).is_file() for path in found)


def test_a_notebook_is_a_page_of_its_text_and_its_code_and_brings_along_what_it_links_to():
    text = pages.markdown_of("examples/tutorial.ipynb")
    assert text.startswith("# Watch, try, learn") and "\n```python\nclass Doors:\n" in text
    assert "examples/own_task.py" in set(pages._targets("examples/tutorial.ipynb"))
    for path in ("README.md", "examples/own_task.py", "examples/tutorial.ipynb"):
        assert pages.source_of(pages.copy_of(path)) == path


def test_every_module_is_on_a_page_of_the_reference():
    text = "".join(pages.reference(package) for package in pages.packages())
    for top in pages.PACKAGES:
        for path in (ROOT / top).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            hidden = path.stem.startswith("_") and path.stem != "__init__"
            assert hidden or "migrations" in module or f"\n::: {module}\n" in text, module


def test_every_call_and_schema_of_the_service_is_on_the_page(tmp_path: Path):
    document = rest.create_app(rest.Settings(runtime="onnx", data=tmp_path)).openapi()
    text = "\n".join(rest.page(document))
    for path, item in document["paths"].items():
        for method in item:
            assert f"`{method.upper()} {path}`" in text
    for name in document["components"]["schemas"]:
        assert f"### {name} {{ #schema-{name.lower()} }}" in text


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"$ref": "#/components/schemas/Act"}, "[Act](#schema-act)"),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]}, "integer 1.. or null"),
        ({"type": "array", "items": {"type": "array", "items": {"type": "number"}}}, "list of list of number"),
        ({"enum": ["a", "b"]}, '`"a"` or `"b"`'),
        ({}, "any"),
    ],
)
def test_types_are_said_in_words(schema: dict, words: str):
    assert rest.kind(schema) == words
