# make demo     translate recorded Spanish speech and print the scores
# make test     run the test suite, but for what takes minutes (make test-all)
# make live     translate your microphone in the browser, on this machine
# make compare  EchoStream beside the StreamSpeech baseline, with a report in runs/compare
# Each makes the virtual environment first when it is missing.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALLED = $(VENV)/.installed
SIMULEVAL = simuleval==1.1.4
SIMULSTREAM = simulstream==1.0.0
# Workers that the tests are shared among; each keeps to one core.
WORKERS ?= 2
PARALLEL = -n $(WORKERS) --dist worksteal
FAIRSEQ = ve-fairseq==0.12.3
HAS_FAIRSEQ_WHEEL = $(BIN)/python -c 'import platform, sys; sys.exit(not (sys.platform == "linux" \
  and platform.machine() == "x86_64" and sys.version_info < (3, 13)))'

.PHONY: help install demo live test test-all lint bench compare faults train train-mini clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -5

install: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "$(PYTHON) is not Python 3.11, 3.12 or 3.13; give one: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "Python's venv is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade -c constraints.txt pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,train,report,backends,server,simuleval-needs,fairseq-needs]'
	# SimulEval's dependencies need a C compiler for a package it never imports; what simulstream asks
	# for beyond websockets is for evaluation, which the tests do not do.
	$(BIN)/python -m pip install --quiet --no-deps $(SIMULEVAL) $(SIMULSTREAM)
	# fairseq, which trains, asks for much that it never imports, and has wheels for this only.
	if $(HAS_FAIRSEQ_WHEEL); then $(BIN)/python -m pip install --quiet --no-deps $(FAIRSEQ); fi
	touch $@

demo: $(INSTALLED)
	$(BIN)/python -m eval.demo

live: $(INSTALLED)
	$(BIN)/echostream serve

test: lint
	$(BIN)/python -m pytest tests -m "not slow" $(PARALLEL)

test-all: lint
	$(BIN)/python -m pytest tests $(PARALLEL)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

compare: $(INSTALLED)
	$(BIN)/echostream data es-en
	$(BIN)/python -m eval.compare

faults: $(INSTALLED)
	$(BIN)/python -m eval.faults

bench: $(INSTALLED)
	$(BIN)/python -m eval.bench --config configs/base.yaml --agent --memory --output runs/bench/base.json
	$(BIN)/python -m eval.bench --config configs/tiny.yaml --output runs/bench/tiny.json

train-mini: $(INSTALLED)
	$(BIN)/echostream data es-en
	OMP_NUM_THREADS=1 $(BIN)/echostream train configs/tiny.yaml --output runs/mini --processes 2 \
	  --updates 1500 --minutes 10

train: $(INSTALLED)
	$(BIN)/echostream data es-en
	$(BIN)/echostream train configs/tiny.yaml --output runs/tiny

clean:
	rm -rf $(VENV) runs data/demo
