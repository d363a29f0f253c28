# make demo   install into .venv and cluster the digits     make test   all notebooks, then pytest
# make check  lint; clean and export change nothing         make docs   the site (quarto where installed)
# make nb NB=nbs/15_metrics.ipynb   execute one page in place, clean it, export it
# make readme   README.md from nbs/index.ipynb
#
# Needs Python 3.10 or newer, with its venv module, and make. `make PYTHON=/path/to/python3 demo` chooses another.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1 && { echo $$p; break; }; done)
PY := $(VENV)/bin/python
THREADS := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1}

.PHONY: help demo test check docs nb readme sidebar browser clean
help: ; @sed -n 's/^# //p' Makefile | head -5

# uv resolves torch and torchvision together and quickly; without it, pip does the same more slowly. pip's find-links are
# overridden by an empty folder: a CPU-only torch found there beside an ordinary torchvision fails at import. An emptied
# variable alone would not do, because pip ignores empty variables and falls back on its configuration file.
define install
	@echo "installing $(1)"
	@env -u UV_FIND_LINKS $(PY) -m uv pip install --python $(PY) -e "$(1)" || { echo "uv could not: now with pip"; \
		PIP_FIND_LINKS="$(abspath $(VENV))/no-links" $(PY) -m pip install --disable-pip-version-check -e "$(1)"; }
	@$(PY) -c 'import torch, torchvision; print("torch", torch.__version__, "torchvision", torchvision.__version__)'
	@touch $@
endef

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "no Python >= 3.10 with its venv module found: install one, or make PYTHON=/path/to/python3"; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	@mkdir -p $(VENV)/no-links
	@PIP_FIND_LINKS="$(abspath $(VENV))/no-links" $(PY) -m pip install --quiet --disable-pip-version-check uv || echo "no uv: pip it is"
	@touch $@

$(VENV)/.installed: $(VENV)/.made settings.ini setup.py
	$(call install,.)

$(VENV)/.installed-dev: $(VENV)/.made settings.ini setup.py
	$(call install,.[dev])
	@touch $(VENV)/.installed

demo: $(VENV)/.installed
	$(VENV)/bin/deepclust fit --data digits --method LNSCC --out runs/demo --overwrite

# Both parts run, so that one report tells all; pytest's summary comes last.
test: $(VENV)/.installed-dev
	@rc=0; $(THREADS) $(VENV)/bin/nbdev_test || { rc=1; echo "nbdev_test FAILED (above)"; }; \
	$(THREADS) $(PY) -m pytest || rc=1; exit $$rc

check: $(VENV)/.installed-dev
	@rc=0; $(VENV)/bin/ruff check --output-format concise . || rc=1; \
	$(THREADS) $(PY) -m pytest -q tests/test_lint.py tests/test_clean.py || rc=1; exit $$rc

browser: $(VENV)/.installed-dev
	$(PY) -m pip install --quiet --disable-pip-version-check "voila>=0.5.8" "selenium>=4.20"
	DEEPCLUST_SCREENSHOT=runs/explorer.png $(THREADS) $(PY) -m pytest tests/test_browser.py

sidebar: $(VENV)/.installed-dev
	@$(PY) tests/site_files.py sidebar

docs: sidebar
	$(PY) -c 'import nbdev.serve; print("processed into", nbdev.serve.proc_nbs(force=True))'
	@if command -v quarto >/dev/null; then (cd _proc && quarto render --no-cache) && rm -rf _docs && mv _proc/_docs _docs && echo "the site is in _docs"; \
	else echo "quarto is not installed, so the pages were processed (_proc) but not rendered: https://quarto.org/docs/get-started"; fi

nb: $(VENV)/.installed-dev
	@test -n "$(NB)" || { echo "say which: make nb NB=nbs/15_metrics.ipynb [FLAGS='cuda slow']"; exit 1; }
	$(THREADS) $(PY) tests/run_notebook.py $(NB) $(if $(FLAGS),--flags $(FLAGS))

readme: $(VENV)/.installed-dev
	@$(PY) tests/site_files.py readme

clean: ; rm -rf _proc _docs build dist *.egg-info .pytest_cache .ruff_cache nbs/sidebar.yml
