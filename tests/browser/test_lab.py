"""The bench itself: a plain widget in a real JupyterLab is painted, clicked and found again."""

import os
import signal

import pytest
from browser.lab import (
    CellError,
    accept,
    cell,
    open_notebook,
    restart_kernel,
    run_all,
    run_cell,
    save_and_reload,
    screenshot,
    wait_until_idle,
)
from playwright.sync_api import expect

COUNTER = '''
import anywidget, traitlets

class Counter(anywidget.AnyWidget):
    _esm = """
    function render({ model, el }) {
      const button = document.createElement("button");
      button.className = "counter";
      const show = () => { button.textContent = `count is ${model.get("value")}`; };
      button.onclick = () => { model.set("value", model.get("value") + 1); model.save_changes(); };
      model.on("change:value", show);
      show();
      el.appendChild(button);
    }
    export default { render };
    """
    value = traitlets.Int(0).tag(sync=True)

counter = Counter()
counter
'''


def test_widget_is_painted_clicked_reloaded_and_run_again(page, jupyter):
    open_notebook(page, jupyter.write("counter.ipynb", [COUNTER, "print('seen:', counter.value)"]))
    run_all(page)
    button = cell(page, 0).locator("button.counter")
    expect(button).to_have_text("count is 0")
    button.click()
    expect(button).to_have_text("count is 1")
    expect(run_cell(page, 1)).to_contain_text("seen: 1")
    screenshot(page, "counter")

    save_and_reload(page)
    expect(button).to_have_text("count is 1")

    restart_kernel(page)
    run_cell(page, 0)
    expect(button).to_have_text("count is 0")
    assert page.traffic.errors == []


def test_cell_that_fails_is_told_from_one_that_runs(page, jupyter):
    open_notebook(page, jupyter.write("failing.ipynb", ["1 / 0", "print('after')"]))
    with pytest.raises(CellError, match="ZeroDivisionError"):
        run_cell(page, 0)
    with pytest.raises(CellError, match="ZeroDivisionError"):
        run_all(page)
    expect(run_cell(page, 1)).to_contain_text("after")


def test_killed_kernel_is_replaced(page, jupyter):
    open_notebook(page, jupyter.write("killed.ipynb", ["import os; print('I am', os.getpid())"]))
    run_cell(page, 0)
    (before,) = jupyter.kernel_pids()
    expect(cell(page, 0)).to_contain_text(f"I am {before}")
    os.kill(before, signal.SIGKILL)
    accept(page)
    wait_until_idle(page)
    run_cell(page, 0)
    (after,) = jupyter.kernel_pids()
    assert after != before
    expect(cell(page, 0)).to_contain_text(f"I am {after}")


@pytest.mark.parametrize("url", ["http://example.org/tile.png", "http://192.0.2.1/tile.png"])
def test_request_to_the_outside_is_seen_and_refused(page, jupyter, url):
    page.goto("about:blank")
    answer = page.evaluate("url => fetch(url, {mode: 'no-cors'}).then(() => 'came', () => 'refused')", url)
    assert answer == "refused"
    (seen,) = page.traffic.outside
    assert seen == url
    page.traffic.outside.clear()
