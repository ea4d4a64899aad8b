"""The tables that a section keeps: what is written is read, and what is damaged is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifelong.evaluation.results import Imported, Quantity, Row, read_table, write_table
from lifelong.runtime.errors import UserError

ROW = Row("x", "sgd", "s", "mlp-4", 0, 1, 1, "test", "task_incremental", "accuracy", 0.5, 12)
LINE = "x,sgd,s,mlp-4,0,1,1,test,task_incremental,accuracy,0.5,12"


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 9), st.floats(0, 1), st.none() | st.integers(0, 99)),
        unique_by=lambda one: one[:3],
    )
)
def test_rows_are_read_as_written(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[int, int, int, float, int | None]]
) -> None:
    rows = [Row("x", "m", "s", "n", s, i, j, "test", "chunk_5", "accuracy", float(f"{v:.8g}"), n) for s, i, j, v, n in found]
    path = tmp_path_factory.mktemp("kept") / "results.csv"
    write_table(path, rows, Row)
    first = path.read_bytes()
    assert read_table(path, Row) == rows
    write_table(path, read_table(path, Row), Row)
    assert path.read_bytes() == first


def test_what_is_absent_stays_absent(tmp_path: Path) -> None:
    quantity = Quantity("a/b", "row, with comma", "", None, None, None, "bytes", None, None, 0)
    imported = Imported("x", "p", "acc", None, None, None, None, 2, "reports/a/b.csv")
    write_table(tmp_path / "q.csv", [quantity], Quantity)
    write_table(tmp_path / "i.csv", [imported], Imported)
    assert read_table(tmp_path / "q.csv", Quantity) == [quantity]
    assert read_table(tmp_path / "i.csv", Imported) == [imported]
    assert read_table(tmp_path / "none.csv", Row) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("0.5", "1.5"), r"results\.csv, line 2: value: found '1\.5'; expected less than or equal"),
        (lambda text: text.replace(",0.5", ","), r"line 2: value: found ''; expected a valid number"),
        (lambda text: text.replace(",test,", ",train,"), r"line 2: split: found 'train'; expected 'test' or 'validation'"),
        (lambda text: text.replace("seed", "sead"), r"found columns 'experiment,.*sead.*'; expected 'experiment,.*seed"),
        (lambda text: text.replace("12", "12,7"), "line 2: found more values than the 12 columns"),
        (lambda text: text + LINE.replace("0.5", "0.6") + "\n", "line 3: says again what line 2 says"),
    ],
)
def test_a_damaged_table_is_named_with_what_to_do(change: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "part" / "results.csv"
    write_table(path, [ROW], Row)
    assert path.read_text().splitlines()[1] == LINE
    path.write_text(change(path.read_text()))  # type: ignore[operator]
    with pytest.raises(UserError, match=message) as error:
        read_table(path, Row)
    assert "git checkout -- " in str(error.value)
    assert "`snakemake part` makes it anew" in str(error.value)
