"""The page of the suite `ask-words`. Knows its report and nothing else."""

from typing import Any

HEAD = """# Asking in words

`wtl benchmark ask-words` wrote this page. Success in percent at the first attempt, with its 95% interval, in tasks that
were held out; in brackets at the second attempt, which knows how the first one went. Where a benchmark has at least
twelve missions, missions are resampled for the intervals, otherwise episodes (Wilson).
"""


def page(report: dict[str, Any]) -> str:
    """Render the report as Markdown."""
    sections = [HEAD]
    for manifest, encoders in report.items():
        sections.append(f"## {manifest}\n")
        for ending, found in encoders.items():
            sections.append(f"{_title(ending)} ({found['encoder'][:24]}), {found['ways']['words']['n']:,} tasks:\n")
            sections.append(_table(found["ways"]))
            sections.append(_differences(found["differences"]))
            sections.append(_encoding(found["encoding"]))
    return "\n".join(sections)


def _title(ending: str) -> str:
    return "Sentences are read by MiniLM" if ending == "words" else "Control: sentences are read as a bag of words"


def _table(ways: dict[str, Any]) -> str:
    groups = [name for name in ("known tasks", "new tasks") if name in ways["words"]]
    head = ["what the policy knows", "all tasks", *groups, "second attempt after a failure"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, way in ways.items():
        cells = [name, _cell(way), *(_cell(way[group]) for group in groups), _rate(way["after a failure"])]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(way: dict[str, Any]) -> str:
    first, second = way["attempts"]
    return f"{_rate(first)} [{100 * second['success']:.1f}]"


def _rate(rate: dict[str, Any] | None) -> str:
    if rate is None:
        return "none failed"
    low, high = rate["ci95"]
    return f"{100 * rate['success']:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def _differences(found: dict[str, Any]) -> str:
    lines = [
        f"* {name}: {100 * one['mean']:+.1f} points ({100 * one['ci95'][0]:+.1f} to {100 * one['ci95'][1]:+.1f})"
        for name, one in found.items()
    ]
    return "\n".join(lines) + "\n"


def _encoding(found: dict[str, Any]) -> str:
    said = (
        f"The encoder alone: of {found['n']} sentences of new wording, the nearest one of known wording is about the "
        f"same task for {100 * found['nearest is right']:.1f}%. A sentence took {found['ms']:.1f} ms of one core."
    )
    if one := found.get("synonyms"):
        said += f" Of {one['n']} that call what they are about by other words: {100 * one['nearest is right']:.1f}%."
    return said + "\n"
