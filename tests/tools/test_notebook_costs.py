"""What notebooks cost is measured, and what exceeds a limit is told."""

import nbformat
import notebook_costs


def _notebook(folder, *cells):
    path = folder / "lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    return path


def test_memory_and_time_are_those_of_the_kernel(tmp_path):
    hold = "held = b'x' * 300_000_000\nimport time; time.sleep(0.6); del held"
    path = _notebook(tmp_path, hold, "import os; print(len(os.sched_getaffinity(0)))\nopen('made', 'w')")
    cost = notebook_costs.measure(path)
    assert 300 < cost.memory < 700
    assert 0.6 < cost.cell < cost.seconds
    assert not cost.failed
    assert list(tmp_path.iterdir()) == [path], "runs are made elsewhere"
    assert cost.verdict(2000, 600) == "within"
    assert cost.verdict(100, 0.1) == "**over: memory, time**"
    assert "| lesson |" in notebook_costs.render([cost])


def test_a_notebook_that_fails_is_told(tmp_path):
    cost = notebook_costs.measure(_notebook(tmp_path, "1 / 0"))
    assert "division by zero" in cost.verdict(2000, 600)
