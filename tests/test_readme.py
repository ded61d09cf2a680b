"""The README keeps its word: its code runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"


def test_code_runs_as_it_stands(tmp_path):
    blocks = re.findall(
        r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert blocks, "the README has no code"
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:radiowidgets", str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "first" / "run.yaml").is_file()
    assert (tmp_path / "peculiar.reg").is_file()


def test_what_it_points_to_exists():
    for target in re.findall(r"\]\((?!https?://|#)([^)]+)\)", README.read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target
