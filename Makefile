# make study: set everything up and run the main job. make test: set everything up and pass the tests.
# Set-up happens once, and again only when what it depends on has changed.
PYTHON ?= python3
# PyPI's torch for Linux brings CUDA with it, several gigabytes. A machine without a GPU does well with
#   make study TORCH_INDEX=https://download.pytorch.org/whl/cpu
# which finds the same version, built for CPUs alone. Only torch is looked for there.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
# What the main job needs, and what the tests need on top.
READY := $(VENV)/.ready
TESTS_READY := $(VENV)/.tests-ready
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

# What `make bench` times, the longest last. Each exits with 1 where it misses an aim; the rest are run all the same.
BENCHMARKS := planting retrieval_speed pretraining evaluation ablation proxy_tuning token_shift weight_shift \
	curation localization prices study

.PHONY: study test test-slow test-long lint bench clean

study: $(READY)
	$(BIN)/mithridate run --out runs/default

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m "not slow and not long"

test-slow: $(TESTS_READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m slow

# Minutes each, and no part of CI: every method of healing on a study, price lists and healings killed.
test-long: $(TESTS_READY)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist worksteal -m long

lint: $(TESTS_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	@missed=; for name in $(BENCHMARKS); do \
		echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/$$name.py || missed="$$missed $$name"; \
	done; test -z "$$missed" || { echo "missed an aim:$$missed"; exit 1; }

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(PIP) -c constraints.txt -e .
	touch $(READY)

$(TESTS_READY): $(READY) tests/plugin/pyproject.toml
	$(PIP) -c constraints.txt -e ".[dev]"
	# A real plug-in package, which the tests find through its entry point.
	$(PIP) --no-deps -e tests/plugin
	touch $(TESTS_READY)

clean:
	rm -rf $(VENV) runs .pytest_cache .mypy_cache .ruff_cache .hypothesis build
