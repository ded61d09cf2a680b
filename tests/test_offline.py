"""The quickstart in a network namespace of its own, where nothing but the loopback exists."""

import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

QUICKSTART = Path(__file__).resolve().parents[1] / "notebooks" / "00_quickstart.ipynb"

# Brings the loopback up (kernels talk over it), proves that nothing else is reachable, runs the notebook.
SCRIPT = """
import fcntl, os, socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
    fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))
with socket.socket() as outside:
    outside.settimeout(5)
    try:
        outside.connect(("192.0.2.1", 80))  # an address kept for documentation (RFC 5737)
    except OSError as error:
        assert error.errno in (101, 113), error  # unreachable: there is no way out
    else:
        raise SystemExit("the namespace is not closed")
import nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300, resources={"metadata": {"path": sys.argv[2]}}).execute()
print(sum(len(cell.get("outputs", [])) for cell in notebook.cells))
"""


def _can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rn", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _can_unshare(), reason="unshare is not installed, or not allowed to this user")
def test_the_quickstart_runs_without_any_network(tmp_path):
    command = [
        "unshare",
        "-rn",
        sys.executable,
        "-c",
        textwrap.dedent(SCRIPT),
        str(QUICKSTART),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 5
    assert (tmp_path / "runs" / "mock-emu-7-128" / "top20.reg").exists()
