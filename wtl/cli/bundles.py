"""Which bundle a user means by a name or a folder."""

from pathlib import Path

from metalearn.data.errors import InvalidConfig


def bundle_folder(name: str) -> Path:
    """The folder of a bundle, of a run's bundle, or of a shipped model. Raises InvalidConfig."""
    from service.settings import SHIPPED_MODELS

    given = Path(name)
    for folder in (given, given / "bundle", SHIPPED_MODELS / given.name):
        if (folder / "bundle.json").exists():
            return folder
    shipped = ", ".join(sorted(path.parent.name for path in SHIPPED_MODELS.glob("*/bundle.json"))) or "none"
    raise InvalidConfig(f"no bundle at {name} (shipped models: {shipped})")
