# Every target sets up what it needs in .venv: `make demo` on a fresh clone is enough.
.DEFAULT_GOAL := help
.PHONY: demo page test lint reproduce help

VENV   := .venv
PY     := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
SAMPLE := samples/red_crown.ogg
# mypy takes app.py and app/, search.py and search/ for one module
CODE   := app asr core data evaluation metrics search t2i training vision visualization $(filter-out app.py search.py,$(wildcard *.py))
# --no-compile: a third of the time goes into .pyc files, most of which nobody ever needs
PIP    := $(PY) -m pip install -q --progress-bar on --no-compile --disable-pip-version-check -c constraints.txt

demo: $(STAMP)  ## hear a sentence and paint eight painted and eight real birds of it (sets everything up first)
	@echo "listening to $(SAMPLE)"
	@$(PY) generate.py --speech $(SAMPLE) --model painted real

page: $(STAMP)-page  ## open a local page: say a bird, see it, find it
	@$(PY) app.py

test: $(STAMP)-dev  ## run every test
	$(PY) -m pytest -n 2

lint: $(STAMP)-dev  ## ruff and mypy
	$(PY) -m ruff check .
	$(PY) -m mypy $(CODE)

reproduce: $(STAMP)  ## train and measure the models of painted birds from nothing (three quarters of an hour on two cores)
	PATH="$(abspath $(VENV))/bin:$$PATH" bash recipes/painted_birds.sh quick

help: ## this list
	@awk -F': .*## ' '/^[a-z]+: .*## /{printf "  make %-11s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first interpreter that is 3.11 or newer and at most 3.13; PYTHON=... chooses one.
$(PY):
	@set -e; for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "setting up $(VENV) with $$($$python --version)"; $$python -m venv $(VENV); exit 0; fi; done; \
	echo "error: found no Python 3.11 to 3.13; install one, or name it: make demo PYTHON=/path/to/python3.12" >&2; exit 2

$(STAMP): pyproject.toml constraints.txt | $(PY)
	@echo "installing the packages: 2.8 GB to fetch, 5.6 GB on disk, one to two minutes on a fast line"
	@$(PIP) -e .
	@touch $@

$(STAMP)-dev: pyproject.toml constraints.txt | $(PY)
	@echo "installing the packages and the tools of the tests: 3 GB to fetch, 6.2 GB on disk, two minutes on a fast line"
	@$(PIP) -e '.[dev]'
	@touch $(STAMP) $@

$(STAMP)-page: pyproject.toml constraints.txt | $(PY)
	@echo "installing the packages and Gradio: 2.9 GB to fetch, 5.8 GB on disk, one to two minutes on a fast line"
	@$(PIP) -e '.[page]'
	@touch $(STAMP) $@
