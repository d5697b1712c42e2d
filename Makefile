# The few words of this house. Everything happens inside this folder; `make clean` leaves no trace.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || echo python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo dev check test bench clean

demo: $(VENV)/.installed  ## set up and read a synthetic radiology report
	$(BIN)/clinical ner examples/radiology.txt --format table

test: dev check  ## set up, check and run every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4

check: $(VENV)/.dev  ## formatting, lint, types, floors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dev: $(VENV)/.dev  ## an editable installation with what the tests need

bench: $(VENV)/.dev  ## the tables of the README
	$(BIN)/python benchmarks/ner_table.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: setup.cfg $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.dev: setup.cfg $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info out
