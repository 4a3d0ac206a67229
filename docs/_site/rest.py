"""MkDocs hook: the OpenAPI document of the service as a page, and as a file beside it. Needs no network to be read."""

import json
from collections.abc import Iterator

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from service.app import create_app
from service.settings import Settings

PAGE = "reference/rest.md"
JSON = "application/json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page and the file."""
    document = create_app(Settings(runtime="onnx")).openapi()
    files.append(File.generated(config, "reference/openapi.json", content=json.dumps(document, indent=1)))
    files.append(File.generated(config, PAGE, content="\n".join(page(document))))
    return files


def page(document: dict) -> Iterator[str]:
    """The lines of the page: operations by tag, then the schemas."""
    yield f"# REST calls\n\n{document['info']['description']}\n"
    yield "Generated from [openapi.json](openapi.json), which a server has at `/openapi.json` too.\n"
    paths = document["paths"]
    calls = [(method, path, call) for path in sorted(paths) for method, call in paths[path].items()]
    for tag in dict.fromkeys(
        call["tags"][0] for *_, call in sorted(calls, key=lambda one: not one[1].startswith("/v"))
    ):
        yield f"## {tag.capitalize()}\n"
        for method, path, call in calls:
            if call["tags"][0] == tag:
                yield from operation(method, path, call)
    yield "## Schemas\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from described(name, schema)


def operation(method: str, path: str, call: dict) -> Iterator[str]:
    """One call: what it does, takes and answers."""
    yield f"### {call['summary'].rstrip('.')} {{ #{call['operationId']} }}\n"
    yield f"`{method.upper()} {path}`\n{{ .call }}\n"
    yield f"{' '.join(call.get('description', '').split()).removeprefix(call['summary']).strip()}\n"
    if parameters := call.get("parameters"):
        yield "| parameter | in | type | |\n|---|---|---|---|"
        for one in parameters:
            name = f"`{one['name']}`" + (", required" if one.get("required") else "")
            yield f"| {name} | {one['in']} | {kind(one['schema'])} | {_cell(one.get('description', ''))} |"
        yield ""
    if body := call.get("requestBody"):
        needed = "" if body.get("required") else ", may be absent"
        yield f"Body{needed}: {contents(body['content'])}\n"
        example = body["content"].get(JSON, {}).get("example")
        if example is not None:
            yield f"```json\n{json.dumps(example)}\n```\n"
    yield "| answer | | body |\n|---|---|---|"
    for status, answer in call["responses"].items():
        yield f"| {status} | {_cell(answer.get('description', ''))} | {contents(answer.get('content', {}))} |"
    yield ""


def described(name: str, schema: dict) -> Iterator[str]:
    """One schema: its fields, or its values."""
    yield f"### {name} {{ #{_anchor(name)} }}\n"
    yield f"{schema.get('description', '')}\n"
    if "properties" not in schema:
        yield f"{kind(schema)}\n"
        return
    yield "| field | type | |\n|---|---|---|"
    for field, one in schema["properties"].items():
        needed = ", required" if field in schema.get("required", ()) else ""
        default = f"default `{json.dumps(one['default'])}`" if one.get("default") is not None else ""
        meaning = "; ".join(text for text in (_cell(one.get("description", "")), default) if text)
        yield f"| `{field}`{needed} | {kind(one)} | {meaning} |"
    yield ""


def contents(content: dict) -> str:
    """The schemas of a body with the media types that it may come in."""
    types: dict[str, list[str]] = {}
    for media, one in content.items():
        types.setdefault(kind(one.get("schema", {})), []).append(f"`{media}`")
    return "; ".join(f"{shown} as {', '.join(media)}" for shown, media in types.items())


def kind(schema: dict) -> str:
    """A type in words, with a link where it has a name."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{_anchor(name)})"
    if "enum" in schema or "const" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema.get("enum", [schema.get("const")]))
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return " or ".join(dict.fromkeys(kind(one) for one in schema[choice]))
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    names = schema.get("type", "any")
    return (" or ".join(names) if isinstance(names, list) else names) + _bounds(schema)


def _bounds(schema: dict) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and high is None:
        return ""
    return f" {'' if low is None else low}..{'' if high is None else high}"


def _anchor(name: str) -> str:
    return f"schema-{name.lower()}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
