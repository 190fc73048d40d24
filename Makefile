# make study: set everything up and run the main job. make test: set everything up and pass the tests.
# Set-up happens once, and again only when what it depends on has changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: study test test-slow lint bench docs clean

study: $(READY)
	$(BIN)/mithridate run --out runs/default

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow"

test-slow: $(READY)
	$(BIN)/pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python benchmarks/planting.py
	$(BIN)/python benchmarks/pretraining.py
	$(BIN)/python benchmarks/evaluation.py

$(READY): pyproject.toml constraints.txt tests/plugin/pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	# torch by its exact version first: a range would fetch gigabytes of CUDA on a machine without a GPU.
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	# A real plug-in package, which the tests find through its entry point.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -e tests/plugin
	touch $(READY)

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis build
