"""What the report says of its run."""

import polars as pl
import pytest
from deltalake import write_deltalake

from assets.evidence.run_record import check_columns
from orchestration.table_store import TableError, TableStore


def test_tables_of_an_earlier_version_are_named_with_what_they_lack(tmp_path, evidence_tables):
    store = TableStore(tmp_path)
    store.write("teacher_agreement", evidence_tables["teacher_agreement"], run_id="made")
    store.write("survey_calibration", evidence_tables["survey_calibration"], run_id="made")
    check_columns(store)

    older = pl.DataFrame(store.read("teacher_agreement")).drop("noise_floor", "note")
    write_deltalake(str(tmp_path / "teacher_agreement"), older.to_arrow(), mode="overwrite", schema_mode="overwrite")

    with pytest.raises(TableError, match=r"lack columns.*: teacher_agreement \(noise_floor, note\)\. `populace run`"):
        check_columns(store)
