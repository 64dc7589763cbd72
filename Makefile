# `make h` lists the targets. A line "## short long: meaning" makes a target known to it, and phony, by both of its names.
# ARGS passes overrides on: make ex ARGS="trainer.max_epochs=3 seed=1"

VENV := .venv
PYTHON := $(VENV)/bin/python
ENV := $(VENV)/.installed
# Cleaning works without the environment.
ANY_PYTHON = $(firstword $(wildcard $(PYTHON)) python3)
ARGS ?=
# The dataset to audit.
DIR ?= data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^[[:punct:]][[:punct:]] \([a-z]*\) \([a-z-]*\):.*/\1 \2/p' Makefile)

$(ENV): requirements.txt setup.sh
	@sh setup.sh
	@touch $@

## h help: List every target
h help:
	@sed -n 's/^## \([a-z]*\) \([a-z-]*\): \(.*\)/\1|\2|\3/p' Makefile | awk -F'|' '{ printf "%-6s %-20s %s\n", $$1, $$2, $$3 }'

# ----- datasets: nothing happens when the same set is there already

## sds simple-dataset-small: Synthesize the small saw set, 256 samples
sds simple-dataset-small: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_simple_saw $(ARGS)

## sdl simple-dataset-large: Synthesize the large saw set, 16,384 samples
sdl simple-dataset-large: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_simple_saw dataset.size=16384 $(ARGS)

## sdmb moog-dataset-basic: Synthesize the Moog set basic (4 parameters), 16,384 samples
sdmb moog-dataset-basic: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_moog_basic $(ARGS)

## sdme moog-dataset-envelope: Synthesize the Moog set envelope (10 parameters), 16,384 samples
sdme moog-dataset-envelope: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_moog_envelope $(ARGS)

## sdmr moog-dataset-resonance: Synthesize the Moog set resonance (8 parameters), 16,384 samples
sdmr moog-dataset-resonance: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_moog_resonance $(ARGS)

## sdma moog-dataset-all: Synthesize all three Moog sets
sdma moog-dataset-all: sdmb sdme sdmr

## au audit: Audit a dataset: what can be read from its images, and how well at best (DIR=path)
au audit: $(ENV)
	$(PYTHON) scripts/audit_dataset.py $(DIR) $(ARGS)

# ----- training: a missing dataset is synthesized first

## ex example: Train and test the example, a CNN on the small set
ex example: $(ENV)
	$(PYTHON) src/train.py experiment=example $(ARGS)

## etms trivial-micro-small: Train the micro CNN (2K parameters) on the small set
etms trivial-micro-small: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_small model=cnn_micro $(ARGS)

## etts trivial-tiny-small: Train the tiny CNN (8K parameters) on the small set
etts trivial-tiny-small: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_small model=cnn_tiny $(ARGS)

## etml trivial-micro-large: Train the micro CNN on the large set
etml trivial-micro-large: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_large model=cnn_micro $(ARGS)

## ettl trivial-tiny-large: Train the tiny CNN on the large set
ettl trivial-tiny-large: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_large model=cnn_tiny $(ARGS)

## etall trivial-all: Run all four trivial experiments
etall trivial-all: etms etts etml ettl

## emb moog-basic: Train the CNN on the Moog set basic
emb moog-basic: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_basic $(ARGS)

## eme moog-envelope: Train the CNN on the Moog set envelope
eme moog-envelope: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_envelope $(ARGS)

## emr moog-resonance: Train the CNN on the Moog set resonance
emr moog-resonance: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_resonance $(ARGS)

## emall moog-all: Synthesize all Moog sets and train on each
emall moog-all: sdma emb eme emr

## tr train: Train with the default configuration
tr train: $(ENV)
	$(PYTHON) src/train.py $(ARGS)

## trq train-quick: Train for one epoch, to see that it runs
trq train-quick: $(ENV)
	$(PYTHON) src/train.py trainer.max_epochs=1 $(ARGS)

## trs train-small: Train with the default configuration on the small set
trs train-small: $(ENV)
	$(PYTHON) src/train.py data=vimh_256dss $(ARGS)

## trl train-large: Train with the default configuration on the large set
trl train-large: $(ENV)
	$(PYTHON) src/train.py data=vimh_16kdss $(ARGS)

# ----- tests and code

## t test: Run the fast tests
t test: $(ENV)
	@scripts/test -m "not slow" $(ARGS)

## ta test-all: Run all tests
ta test-all: $(ENV)
	@scripts/test $(ARGS)

## f format: Format and check all files with the pre-commit hooks
f format: $(ENV)
	$(PYTHON) -m pre_commit run --all-files

## bench benchmark: Measure generation, reading and training
bench benchmark: $(ENV)
	@$(PYTHON) scripts/bench.py $(ARGS)

# ----- cleaning: what this project made, listed first; ARGS=--dry-run only lists

## c clean: Delete generated datasets, runs and caches
c clean:
	@$(ANY_PYTHON) scripts/clean.py data logs caches $(ARGS)

## dc data-clean: Delete generated datasets
dc data-clean:
	@$(ANY_PYTHON) scripts/clean.py data $(ARGS)

## cl clean-logs: Delete runs
cl clean-logs:
	@$(ANY_PYTHON) scripts/clean.py logs $(ARGS)

# ----- looking

## tb tensorboard: Show the curves of all runs at port 6006
tb tensorboard: $(ENV)
	@$(PYTHON) scripts/show_curves.py

## lc list-configs: List models with their sizes, data, experiments and every other option
lc list-configs: $(ENV)
	@$(PYTHON) scripts/list_configs.py
