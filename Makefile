# Every target makes the environment it needs; `make dig` on a fresh machine ends with a report.
PYTHON ?= python3
BIN := .venv/bin
BENCHES := statistics rollout grad_cam relevance integrated_gradients ablation attention worlds augment training \
	attacks attacks_curve attacks_minimal

.DEFAULT_GOAL := help
.PHONY: help venv dig test test-browser chromium screenshots check format bench lock clean $(addprefix bench-,$(subst _,-,$(BENCHES)))

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

venv: .venv/installed  ## Make the environment in .venv

.venv/installed: requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements.lock
	@# torchattacks asks for a version of requests that nobody else can live with, and works with any.
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps torchattacks==3.5.1
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	touch $@

dig: venv  ## Dig the bundled specimens and write a report
	$(BIN)/archaeology dig

test: check chromium  ## Run every check that CI runs
	$(BIN)/python -m pytest -n 2 --dist worksteal --jaxtyping-packages=archaeology,beartype.beartype

test-browser: venv chromium  ## Open explorer, app and report in a browser
	$(BIN)/python -m pytest -n 2 --dist worksteal --jaxtyping-packages=archaeology,beartype.beartype -m browser

chromium:  ## Install the browser that opens pages, where none is found
	@docs/chromium.sh

screenshots: venv chromium  ## Pictures of report, app and explorer; RUN=path takes a finished dig
	$(BIN)/python docs/screenshots.py $(RUN)

check: venv  ## Lint, types, layers, spelling
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell

format: venv  ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(addprefix bench-,$(subst _,-,$(BENCHES)))  ## Measure ours against others, side by side

$(addprefix bench-,$(subst _,-,$(BENCHES))): bench-%: venv
	$(BIN)/python -m benchmarks.$(subst -,_,$*)

lock:  ## Resolve requirements.lock anew (needs the package registry)
	$(BIN)/uv pip compile --quiet --upgrade --all-extras --no-header --no-annotate \
		--python-version 3.11 -o requirements.lock pyproject.toml

clean:  ## Remove what was built; keeps .venv and runs
	rm -rf build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
