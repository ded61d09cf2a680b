# Needs make and Python 3.11-3.13; everything else is installed into .venv by the targets themselves.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

PYTHON ?=
BIN := .venv/bin
PY := $(BIN)/python
PIP := $(PY) -m pip --disable-pip-version-check --no-input -qq
# Wheels only, on the way in as on the way out: nothing is built where users install. UPGRADE=-U renews every pin.
COMPILE = $(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url \
  --only-binary :all: --python-version 3.11 --all-extras --group build $(UPGRADE)
NOTEBOOKS = $(wildcard notebooks/*.ipynb)
LAB_ARGS ?=
TEST_ARGS ?=
BENCH_ARGS ?=
BINDER_ARGS ?=
NOTEBOOK_TIMEOUT ?= 1800

.PHONY: help lab test check notebooks bench binder docs pictures encoder soak lock clean

help:  ## show this help
	@echo "make TARGET, one of"
	@sed -nE 's/^([a-z]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 14
	@echo "PYTHON=/path/to/python3.12 chooses the interpreter of a new .venv; LAB_ARGS, TEST_ARGS and BENCH_ARGS are passed on."

lab: .venv/.user .venv/.package  ## install what users need and open the quickstart in JupyterLab
	@echo "JupyterLab starts and prints its address below; open it where no browser opens by itself. Ctrl-C twice stops it."
	@exec $(PY) -m jupyterlab $$([ "$$(id -u)" != 0 ] || echo --allow-root) --ServerApp.root_dir=notebooks \
	  --LabApp.default_url=/lab/tree/00_quickstart.ipynb --LabApp.news_url=None \
	  --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(LAB_ARGS)

test: .venv/.dev .venv/.package  ## install what developers need (Chromium included) and run every test
	@$(PY) tests/browser/chromium.py
	@$(PY) -m pytest -q -n 2 $(TEST_ARGS)

check: .venv/.dev .venv/.package  ## formatting, lint, types, layers, clean notebooks, JavaScript tests, generated files
	@$(BIN)/ruff check -q --output-format concise .
	@$(BIN)/ruff format -q --check .
	@$(BIN)/mypy --no-error-summary radiowidgets
	@log=$$($(BIN)/lint-imports 2>&1) || { echo "$$log"; exit 1; }
	@$(PY) tools/environment.py --check
	@$(if $(NOTEBOOKS),$(BIN)/nbstripout --keep-id --verify $(NOTEBOOKS))
	@tests=$$(find tests -name '*.test.mjs' -o -name '*.test.js'); \
	if [ -z "$$tests" ]; then :; \
	elif command -v node >/dev/null; then node --test --test-reporter=dot $$tests; \
	else echo "node is not installed: the JavaScript tests were left out."; fi
	@echo "check: all well"

notebooks: .venv/.dev .venv/.package  ## run every notebook from top to bottom, on copies
	@rm -rf build/notebooks && mkdir -p build/notebooks && cp $(NOTEBOOKS) build/notebooks/
	@$(PY) -m pytest -q --nbmake --nbmake-timeout=$(NOTEBOOK_TIMEOUT) -o timeout=0 build/notebooks/*.ipynb

bench: .venv/.dev .venv/.package  ## measure the package beside its peers, into build/bench.md (minutes; BENCH_ARGS=--slow: hours)
	@$(PY) tools/bench.py $(BENCH_ARGS)

binder: .venv/.dev .venv/.package  ## time and memory of every notebook beside what Binder gives, into build/notebook_costs.md
	@$(PY) tools/notebook_costs.py $(BINDER_ARGS)

docs: .venv/.dev .venv/.package  ## make the documentation site, into build/site
	@TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/sphinx-build -q -W --keep-going -b html -c docs . build/site
	@echo "docs: build/site/index.html"

pictures: .venv/.dev .venv/.package  ## make the pictures of README and docs anew
	@$(PY) tools/pictures.py

encoder: .venv/.dev .venv/.package  ## train the shipped encoder further, into build/encoder (half an hour on two free cores), goes on where it was stopped
	@$(PY) tools/train_encoder.py build/encoder

soak: .venv/.dev .venv/.package  ## the tests that run for long
	@$(PY) -m pytest -q -m soak -o timeout=0 $(TEST_ARGS)

lock: .venv/.dev  ## write new locks from pyproject.toml, and the environment files from them
	@$(COMPILE) pyproject.toml -o requirements.lock
	@$(COMPILE) --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	@$(PY) tools/environment.py

clean:  ## remove the environment, caches and build products (never runs/ or labels)
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find radiowidgets tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +

# The environment. A stamp for each lock: a changed lock installs again, and the developers' lock holds the users'.

$(PY):
	@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    >/dev/null 2>&1; then "$$python" -m venv .venv; exit; fi; \
	done; \
	echo "$(if $(PYTHON),PYTHON=$(PYTHON) is not a,Found no) Python 3.11, 3.12 or 3.13 with venv:" \
	  "install one (Debian, Ubuntu: apt install python3 python3-venv) or name it with PYTHON=/path/to/python3." >&2; \
	exit 1

.venv/.user: requirements.lock | $(PY)
	@echo "Installing the pinned environment into .venv (3 to 6 minutes, once) ..."
	@$(PIP) install --require-hashes --only-binary=:all: -r $<
	@touch $@

.venv/.dev: requirements-dev.lock | $(PY)
	@echo "Installing the pinned environment of developers into .venv (3 to 6 minutes, once) ..."
	@$(PIP) install --require-hashes --only-binary=:all: -r $<
	@touch .venv/.user $@

# After a lock in each target above, for both locks hold the build backend.
.venv/.package: pyproject.toml | $(PY)
	@$(PIP) install --no-deps --no-build-isolation -e .
	@mkdir -p .venv/share/jupyter/lab/settings && echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' \
	  > .venv/share/jupyter/lab/settings/overrides.json  # or JupyterLab asks whether to fetch its news
	@touch $@
