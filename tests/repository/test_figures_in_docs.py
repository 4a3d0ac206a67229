"""README.md and docs/ have the figures of the committed reports."""

from pathlib import Path

import figures
import pytest


@pytest.mark.parametrize("page", figures.pages(), ids=lambda page: str(page.relative_to(figures.ROOT)))
def test_a_page_has_the_figures_of_the_reports(page: Path) -> None:
    assert figures.with_figures(page.read_text()) == page.read_text(), "run make figures"


def test_the_readme_has_figures() -> None:
    assert figures.ROOT / "README.md" in figures.pages()


def test_the_test_sees_a_figure_that_the_report_does_not_have() -> None:
    page = (figures.ROOT / "README.md").read_text()
    one = next(line for line in figures.evidence("reach-m2").splitlines() if "reach-m2" in line)
    assert one in page
    assert figures.with_figures(page.replace(one, one.replace("50.1", "51.1"))) == page
