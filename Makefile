# `make run` and `make test` need only Python 3.11+; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := .stamps/dev
# Training needs torch; it has an environment of its own, so that nothing else comes to lean on it.
TRAIN := .venv-train
TRAIN_STAMP := .stamps/train
# So have the models of others: the tests that need torch or llama.cpp skip in the environment of `make test`.
MODELS := .venv-models
MODELS_STAMP := .stamps/models
ARGS ?=
NAME ?=
# The rooms that are pure rules: tested in seconds, without processes, databases or servers.
RULES := tests/domain tests/scheduling tests/decisions tests/ledger tests/fleet tests/docs

.PHONY: run test test-models check format soak bench setup clean train

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

test: setup  ## the whole suite, a file at a time on each of up to four cores
	@$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

test-models: $(MODELS_STAMP)  ## what `make test` skips: engine processes, clients and misfortunes with torch and llama.cpp (ARGS="-m soak": long)
	@$(MODELS)/bin/python -m pytest tests/clients tests/mind_llama tests/minds tests/runners tests/servers tests/serving $(ARGS)

$(MODELS_STAMP): pyproject.toml
	@mkdir -p .stamps
	@test -x $(MODELS)/bin/python || $(PYTHON) -m venv $(MODELS)
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(MODELS)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,hf,gguf,quantised]'
	@touch $(MODELS_STAMP)

check: setup  ## what a review needs: format, lint, types, import contracts, the tests of the rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest $(RULES)

format: setup
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

soak: setup  ## the long runs: 200 kills of the server, 500 misfortunes of clients, the contract with 200 examples of each route
	@$(BIN)/python -m pytest -m soak $(ARGS)

bench: setup  ## all comparisons, or one: make bench NAME=queue
	@$(BIN)/python -m benchmarks $(NAME)

$(TRAIN_STAMP): pyproject.toml
	@mkdir -p .stamps
	@test -x $(TRAIN)/bin/python || $(PYTHON) -m venv $(TRAIN)
	$(TRAIN)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(TRAIN)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	@touch $(TRAIN_STAMP)

train: $(TRAIN_STAMP)  ## train encoder and language model again from the data in the repository (ARGS=--small: a check)
	$(TRAIN)/bin/python -m recipes.encoder.train $(ARGS)
	$(TRAIN)/bin/python -m recipes.mind.train $(ARGS)
	$(if $(ARGS),,$(TRAIN)/bin/python -m recipes.mind.intents)

clean:
	rm -rf $(VENV) $(TRAIN) $(MODELS) .stamps .mypy_cache .ruff_cache .pytest_cache
