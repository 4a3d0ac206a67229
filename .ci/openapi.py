"""The OpenAPI document of the service, from which the client of the pages in service/console is generated.

python .ci/openapi.py build/openapi.json     # write it, unless the file holds it already
"""

import json
import sys
from pathlib import Path

from service.app import create_app
from service.settings import Settings


def document() -> str:
    """The document as JSON, the same in every process."""
    return json.dumps(create_app(Settings()).openapi(), indent=1, sort_keys=True) + "\n"


def write(path: Path) -> None:
    """Write it. A file that is right stays as it is, so that nothing is built anew because of it."""
    text = document()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
