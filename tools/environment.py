"""Write environment.yml and its copy for Binder from requirements.lock, or check that they are up to date.

Python and pip come from conda-forge; every other pin stands under ``pip:`` with its marker, so that conda,
Binder and ``make lab`` install the same versions.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
COPIES = (ROOT / "environment.yml", ROOT / "binder" / "environment.yml")

HEAD = """\
# Made from requirements.lock by `make lock`; do not edit.
name: radiowidgets
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python=3.11
  - pip
  - pip:
"""


def pins(lock: str) -> list[str]:
    """Return the requirements of a lock, ``name==version`` with its marker, without hashes and comments."""
    return [
        line.removesuffix("\\").strip()
        for line in lock.splitlines()
        if line.strip() and not line.startswith((" ", "#"))
    ]


def render(lock: str) -> str:
    """Return the text of environment.yml for the text of a lock."""
    return HEAD + "".join(f'      - "{pin}"\n' for pin in pins(lock))


def main() -> int:
    """Write the files, or with ``--check`` name those that differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only compare; exit with 1 where a file differs")
    check = parser.parse_args().check
    text = render(LOCK.read_text(encoding="utf-8"))
    stale = [path for path in COPIES if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        name = path.relative_to(ROOT)
        if check:
            print(f"{name} differs from requirements.lock: run `make lock`.", file=sys.stderr)
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"wrote {name}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
