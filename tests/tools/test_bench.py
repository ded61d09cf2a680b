"""The benchmarks are gathered in one table."""

import json
import subprocess
import sys
from pathlib import Path

import bench

ROOT = Path(bench.__file__).resolve().parent.parent
SCRIPT = """
from results import result
print("as usual")
result("frames | cut", 9.0, 6.0, than="astropy")
result("frames | cut", 2.0, 6.0, than="astropy")
result("frames cut", 3000.0, 1500.0, unit="/s", more=True)
result("alone", 0.25, unit="AUC")
"""


def _script(folder: Path, text: str) -> Path:
    path = folder / "bench_some.py"
    path.write_text(f"import sys\nsys.path.insert(0, {str(ROOT / 'benchmarks')!r})\n{text}")
    return path


def test_a_script_becomes_rows(tmp_path, capfd):
    record = bench.run_script(_script(tmp_path, SCRIPT), tmp_path / "some.log", 1)
    assert [row["what"] for row in record["results"]] == ["frames | cut", "frames cut", "alone"]
    assert not record["failed"]
    assert "as usual" in capfd.readouterr().out
    text = bench.render({"some": json.loads(json.dumps(record))})
    assert "| some | frames / cut | 2 | 6 | s | 3 | astropy |" in text
    assert "| some | frames cut | 3,000 | 1,500 | /s | 2 |  |" in text
    assert "| some | alone | 0.25 |  | AUC |  |  |" in text
    assert "numpy " in text and " cores, " in text


def test_one_that_fails_or_hangs_is_told_with_what_it_found(tmp_path):
    failing = _script(tmp_path, SCRIPT + "raise SystemExit('no data')")
    record = bench.run_script(failing, tmp_path / "some.log", 1)
    assert len(record["results"]) == 3 and record["failed"] == "no data"
    assert "failed: no data" in bench.render({"some": record})
    hanging = _script(tmp_path, "import time; time.sleep(60)")
    assert bench.run_script(hanging, tmp_path / "some.log", 0.02)["failed"] == "stopped after 0.02 minutes"


def test_benchmarks_are_found_and_the_slow_ones_exist():
    known = bench.scripts(ROOT / "benchmarks")
    assert {"frames", "cutouts"} <= known.keys() - bench.SLOW
    telling = [name for name, path in known.items() if "from results import result" in path.read_text()]
    assert len(telling) > 10


def test_help_needs_nothing():
    done = subprocess.run(
        [sys.executable, bench.__file__, "--help"], capture_output=True, text=True, check=True
    )
    assert "--slow" in done.stdout
