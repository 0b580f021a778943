"""The README's program runs and says what it is said to say."""

import contextlib
import io
import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


@pytest.mark.skipif(not README.exists(), reason="needs the source tree")
def test_the_twenty_lines(tmp_path, monkeypatch):
    programs = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert programs
    monkeypatch.chdir(tmp_path)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for program in programs:
            exec(compile(program, "README.md", "exec"), {})
    loss, accuracy = map(float, re.findall(r"[\d.]+", said.getvalue())[:2])
    assert loss < 0.1 and accuracy > 98
    assert (tmp_path / "circle.safetensors").stat().st_size > 0
