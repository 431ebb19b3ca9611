"""The page of decisions says what the table decides."""

from __future__ import annotations

from pathlib import Path

from sleep_runtime.consolidation.decisions import page
from sleep_runtime.consolidation.table import TABLE

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "decisions.md"


def test_the_page_is_what_the_table_says() -> None:
    mend = "python -m sleep_runtime.consolidation.decisions > docs/reference/decisions.md"
    assert PAGE.read_text("utf-8") == page(), f"write it again: {mend}"


def test_every_row_of_the_table_is_a_line_with_its_code() -> None:
    lines = [line for line in page().splitlines() if line.startswith("| ")]
    codes = [f"`{row.move.code}`" for row in TABLE if row.move]
    assert all(any(code in line for line in lines) for code in codes)
    assert sum("nothing changes" in line for line in lines) == sum(not row.move for row in TABLE)
