# `make run` and `make test` need only Python 3.11+; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := .stamps/dev
ARGS ?=
NAME ?=
# The rooms that are pure rules: tested in seconds, without processes, databases or servers.
RULES := tests/domain tests/scheduling tests/decisions tests/ledger tests/fleet tests/docs

.PHONY: run test check format soak bench setup clean train

setup: $(STAMP)

$(STAMP): pyproject.toml
	@mkdir -p .stamps
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@command -v ffmpeg >/dev/null || ln -sf "$$($(BIN)/python -c 'import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())')" $(BIN)/ffmpeg
	@touch $(STAMP)

run: setup  ## do the main job on real input, print a report, keep serving (ARGS=--once: stop after the report)
	@$(BIN)/python -m examples.run_all $(ARGS)

test: setup  ## the whole suite
	@$(BIN)/python -m pytest $(ARGS)

check: setup  ## what a review needs: format, lint, types, import contracts, the tests of the rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest $(RULES)

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

soak: setup  ## the long crash test
	@$(BIN)/python -m pytest -m soak $(ARGS)

bench: setup  ## all comparisons, or one: make bench NAME=queue
	@$(BIN)/python -m benchmarks $(NAME)

train: setup  ## train the sentence encoder again from the data in the repository
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	$(BIN)/python -m recipes.encoder.train $(ARGS)

clean:
	rm -rf $(VENV) .stamps .mypy_cache .ruff_cache .pytest_cache
