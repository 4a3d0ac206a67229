"""The docs list the settings that there are, as the configuration says them."""

import pytest
import settings_table

from metalearn.settings import settings


def test_the_docs_have_the_settings_of_the_code() -> None:
    page = settings_table.PAGE.read_text()
    assert settings_table.with_tables(page) == page, "run python .ci/settings_table.py"


def test_the_test_sees_a_setting_that_the_docs_do_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    page = settings_table.PAGE.read_text()
    fewer = {name: one for name, one in settings().items() if name != "model.n_frames"}
    monkeypatch.setattr(settings_table, "settings", lambda: fewer)
    assert settings_table.with_tables(page) != page
