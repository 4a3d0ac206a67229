"""The docs list the dataset formats that there are, as the table in the code says them."""

from pathlib import Path

import formats_table
import pytest

from metalearn.data.formats import FORMATS


@pytest.mark.parametrize("path", formats_table.PAGES, ids=lambda path: path.name)
def test_the_docs_have_the_table_of_the_code(path: Path) -> None:
    page = path.read_text()
    assert formats_table.with_table(page) == page, "run python .ci/formats_table.py"


@pytest.mark.parametrize("kind", FORMATS)
def test_the_test_sees_a_format_that_the_docs_do_not_have(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = formats_table.PAGES[0].read_text()
    monkeypatch.setattr(formats_table, "FORMATS", {name: one for name, one in FORMATS.items() if name != kind})
    assert formats_table.with_table(page) != page
