"""What needs no training, on the tasks of a manifest: chance, experts, and experts that are sent to fixed places.

    python -m benchmarks.references push-blind fixed-aims

Writes benchmarks/results/references/MANIFEST.json, in which references that were measured before stay.
"""

import argparse
import json

from benchmarks.trained import ROOT, say
from metalearn.evaluation.evaluate import report_of
from metalearn.evaluation.manifest import load_manifest
from metalearn.evaluation.protocol import Protocol, references
from metalearn.tasks.registry import find_family

RESULTS = ROOT / "benchmarks" / "results" / "references"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest")
    parser.add_argument("references", nargs="+")
    given = parser.parse_args()
    manifest = load_manifest(given.manifest)
    protocol = Protocol.of(find_family(manifest.family), manifest)
    players = references(protocol.family, protocol.indices[0])
    contexts = protocol.demonstrations(say)
    path = RESULTS / f"{manifest.name}.json"
    kept = json.loads(path.read_text())["methods"] if path.exists() else {}
    for name in given.references:
        played = protocol.attempts(players[name], contexts)
        kept[name] = report_of(protocol, played).model_dump(mode="json", exclude_none=True)
    about = {"name": manifest.name, "digest": manifest.digest}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"manifest": about, "n_tasks": len(protocol.indices), "methods": kept}, indent=1) + "\n")


if __name__ == "__main__":
    main()
