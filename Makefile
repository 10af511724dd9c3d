# `make tour` shows the main job on real data, `make test` checks everything, `make docs` makes the site.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Neighbours stay in one worker, as they share imports, compiled code and fixtures.
TEST_ARGS ?= -n 2 --dist worksteal
TOUR_ARGS ?=
# A path instead of an import hook, which type checkers and editors do not follow.
EDITABLE := --config-settings editable_mode=compat

.PHONY: tour test lint page docs docs-full readme clean
export MPLBACKEND = Agg
# The models are small: a second thread gains little, and costs much where cores are shared.
export OMP_NUM_THREADS ?= 1
# The suite starts many processes, which would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

$(STAMP): setup.cfg pyproject.toml constraints.txt
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --constraint constraints.txt torch
	$(PY) -m pip install --quiet --constraint constraints.txt $(EDITABLE) --editable ".[test,dev]"
	touch $@

tour: $(STAMP)
	$(PY) -m ppl_gen tour $(TOUR_ARGS)

test: $(STAMP)
	$(PY) -m pytest $(TEST_ARGS)

lint: $(STAMP)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	cd tests/typing && ../../$(PY) -m mypy --config-file= --strict user.py

$(VENV)/.docs: $(STAMP)
	$(PY) -m pip install --quiet --constraint constraints.txt $(EDITABLE) --editable ".[docs]"
	touch $@

# The site, in build/site/html: tutorials with short settings, or whole.
docs: $(VENV)/.docs
	$(PY) docs/site/assemble.py

docs-full: $(VENV)/.docs
	$(PY) docs/site/assemble.py --full

# The README's pictures, table and numbers, from a tour, a browser and the files of results.
readme: $(STAMP)
	$(PY) docs/site/readme.py

# Builds the front end of the page anew, from frontend/; its test compares the bytes.
page:
	cd frontend && npm ci --ignore-scripts --no-audit --no-fund && npm run build

clean:
	rm -rf $(VENV) frontend/node_modules build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
