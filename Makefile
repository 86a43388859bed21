# make demo   fits the embedded phantom and prints where the maps and the pictures are
# make test   runs the tests
# make docs   builds the documentation site, build/site
# Each makes .venv and installs what it needs; nothing else has to be set up.

PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed

.PHONY: demo test bench docs lint clean
.DEFAULT_GOAL := test

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "ivimsc needs Python 3.11 or newer, found " + sys.version.split()[0] + " as $(PYTHON); set PYTHON=...")'
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,learn,register,report,cluster,docs]'
	@touch $@

demo: $(STAMP)
	$(VENV)/bin/ivimsc demo --out demo_out --force

test: $(STAMP)
	$(VENV)/bin/python -m pytest -q

bench: $(STAMP)
	$(VENV)/bin/python -m pytest bench -q

docs: $(STAMP)
	$(VENV)/bin/python -m sphinx -W --keep-going -q -c docs . build/site
	@echo 'the documentation: build/site/docs/index.html'

lint: $(STAMP)
	$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/lint-imports --config setup.cfg

clean:
	rm -rf $(VENV) demo_out build *.egg-info
