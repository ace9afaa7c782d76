# The table of contents for a contributor: `make` lists what there is.
#
#   PYTHON=python3.12 make demo    picks the interpreter for a new .venv
#   make test ARGS="-k manifest"   passes arguments on to pytest
#   make bench SCRIPTS=benchmarks/serving.py ARGS=--quick
#   make triton-server TRITON_PYTHON=python3.12    of 3.10 to 3.12

PYTHON ?= python3
EXTRAS ?= train,export,cpu,page,score,docs,dev
ARGS ?=
# Those that are about photos, trained stores or reports of yours are told which.
ASK := $(addprefix benchmarks/,frontier_plot.py paired_leads.py photos_per_class.py photos_plot.py \
	unknown.py)
SCRIPTS ?= $(filter-out $(ASK),$(wildcard benchmarks/[!_]*.py))

TRITON_PYTHON ?= $(PYTHON)

VENV := .venv
TRITON := .triton
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test test-all coverage lint docs format bench release-check triton-server \
	clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with everything that the other targets need

demo: $(INSTALLED) ## Train, export and predict on rendered pictures; report in demo-output/
	$(BIN)/snow-deploy demo --output demo-output $(ARGS)

test: $(INSTALLED) ## Run the tests but the slow ones, a process more than there are cores
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow" $(ARGS)

test-all: $(INSTALLED) ## Run the slow tests too, as CI does
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

coverage: $(INSTALLED) ## Run all tests and fail where less of the code runs than before
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto --dist worksteal $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: $(INSTALLED) ## Check style, formatting, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(INSTALLED) ## Build the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(INSTALLED) ## Fix style and formatting where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(INSTALLED) ## Run the benchmarks, one after another
	@set -e; for script in $(SCRIPTS); do \
		echo "== $$script"; $(BIN)/python "$$script" $(ARGS); \
	done

release-check: $(INSTALLED) ## Build wheel and sdist in dist/, and try both in fresh environments
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m pytest tests/release --timeout 1800 $(ARGS)

triton-server: $(TRITON)/.installed ## Make .triton, a Triton for the tests that serve (55 MB to fetch, 360 MB)

clean: ## Remove .venv, .triton, caches and what the demo left
	rm -rf $(VENV) $(TRITON) build dist demo-output site htmlcov .coverage .coverage.*
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .grimp_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Made anew when pyproject.toml changes. The sources themselves are installed in editable mode.
$(INSTALLED): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "error: $(PYTHON) is not there; install Python 3.10 or newer, or name one:" \
			"make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo "error: $(PYTHON) is $$($(PYTHON) --version); snow-deploy needs Python 3.10 or" \
			"newer; name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "error: $(PYTHON) cannot make a virtual environment; on Debian and Ubuntu:" \
			"apt install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --editable '.[$(EXTRAS)]'
	@touch $@

# A wheel of PyPI holds a Triton for CPUs with the Python backend. That is all that is used of it; the
# backend was built for NumPy 1, and ends at the first picture with NumPy 2.
$(TRITON)/.installed: pyproject.toml
	$(TRITON_PYTHON) -m venv --clear $(TRITON)
	$(TRITON)/bin/python -m pip install --no-deps 'nvidia-pytriton>=0.7,<0.8'
	$(TRITON)/bin/python -m pip install --only-binary numpy --editable '.[cpu]' 'numpy<2'
	@touch $@
