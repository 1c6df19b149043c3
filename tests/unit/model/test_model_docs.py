"""The examples in the concept pages of both engines run as printed."""

import re
from pathlib import Path

import pytest

CONCEPTS = Path(__file__).parents[3] / "docs" / "concepts"


@pytest.mark.parametrize(("page", "result"), [("lsm.md", "shares"), ("lpm.md", "estimate")])
def test_the_example_runs(page, result):
    blocks = re.findall(r"```python\n(.*?)```", (CONCEPTS / page).read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    names: dict = {}
    exec(compile(blocks[0], page, "exec"), names)
    if result == "shares":
        assert len(names["shares"]) == 5
        assert names["credibility_V"].grad[0] != 0
    else:
        assert 0 < names["estimate"].lower < names["estimate"].value < names["estimate"].upper < 1
