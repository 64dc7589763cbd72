# `make hh` lists the targets. A line "## short long: meaning" makes a target known to it, and phony, by both of its names.
# ARGS passes overrides on, as they would stand on a command line: make ex ARGS="trainer.max_epochs=3 seed=1"

VENV := .venv
# What setup.sh is to make the environment with. Make passes the variables of the environment on as this file sets them.
override BASE_PYTHON := $(if $(filter environment,$(origin PYTHON)),$(PYTHON))
PYTHON := $(VENV)/bin/python
ENV := $(VENV)/.installed
# Cleaning works without the environment.
ANY_PYTHON = $(firstword $(wildcard $(PYTHON)) python3)
ARGS ?=
# The dataset to audit.
DIR ?= data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p
# What the user gives is taken as it is, without make's expansion of $; paths reach recipes through the environment, where
# no character means anything.
override ARGS := $(value ARGS)
override export AUDIO := $(value AUDIO)
override export DIR := $(value DIR)
override export RUN := $(value RUN)
override export RUNS := $(value RUNS)
override export NAME := $(value NAME)
override export KEEP := $(value KEEP)
# The run that a program reads: RUN=NAME, last or best; without it, the newest complete one.
READ = $(if $(value RUN),"run=$$RUN")

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^[[:punct:]][[:punct:]] \([a-z]*\) \([a-z-]*\):.*/\1 \2/p' Makefile)

$(ENV): requirements.txt setup.sh
	@PYTHON='$(BASE_PYTHON)' sh setup.sh
	@touch $@

# Prints targets, all or those named without their examples, a line each; on a terminal, lines are broken where it ends.
define list
test -t 1 && width=$$(tput cols 2>/dev/null || echo 80); \
sed -n 's/^## \([a-z]*\) \([a-z-]*\): \(.*\)/\1|\2|\3/p' Makefile | awk -F'|' -v width="$$width" -v only=" $(1) " '{ \
	if (only ~ /[a-z]/) { if (!index(only, " " $$1 " ")) next; sub(/ \(.*\)$$/, "", $$3) } \
	line = sprintf("%-8s %-26s", $$1, $$2); n = split($$3, words, " "); \
	for (i = 1; i <= n; i++) { \
		if (width > 60 && length(line) + length(words[i]) + 1 > width) { print line; line = sprintf("%35s", "") } \
		line = line " " words[i] \
	} \
	print line }'
endef

# What a newcomer needs: a screen of 24 lines.
FIRST = h hh sds ex tr ddr rn cmp ae pr tv lc tb t c

## h help: List the targets to begin with
h help:
	@$(call list,$(FIRST))

## hh help-all: List every target
hh help-all:
	@$(call list)

# What is no target, and no file that a rule needs.
.DEFAULT:
	@echo "There is no target or file $@. make hh lists the targets." >&2; exit 1

# ----- datasets: nothing happens when the same set is there already

## sds simple-dataset-small: Synthesize the small saw set, 256 samples
sds simple-dataset-small: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_simple_saw $(ARGS)

## sdl simple-dataset-large: Synthesize the large saw set, 16,384 samples
sdl simple-dataset-large: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_simple_saw dataset.size=16384 $(ARGS)

## sdmb moog-dataset-basic: Synthesize the Moog set basic (4 parameters), 131,072 samples
sdmb moog-dataset-basic: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_moog_basic $(ARGS)

## sdme moog-dataset-envelope: Synthesize the Moog set envelope (10 parameters), 131,072 samples
sdme moog-dataset-envelope: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_moog_envelope $(ARGS)

## sdmr moog-dataset-resonance: Synthesize the Moog set resonance (8 parameters), 131,072 samples
sdmr moog-dataset-resonance: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_moog_resonance $(ARGS)

## sdma moog-dataset-all: Synthesize all three Moog sets
sdma moog-dataset-all: sdmb sdme sdmr

## sdsf soundfont-dataset: Synthesize notes of real instruments out of a SoundFont (needs SOUNDFONT=1 sh setup.sh, and a font)
sdsf soundfont-dataset: $(ENV)
	$(PYTHON) generate_vimh.py --config-name=synth/generate_soundfont $(ARGS)

## tv to-vimh: Pack other data into a dataset (ARGS="images DIR", "idx DIR", "cifar DIR" or "audio DIR --sample-rate HZ --duration S")
tv to-vimh: $(ENV)
	@$(PYTHON) scripts/to_vimh.py $(ARGS)

## pe perturb: Write a sound after every perturbation, to look and listen (AUDIO=file; without it one of the saw set)
pe perturb: $(ENV)
	@$(PYTHON) scripts/perturb.py "$$AUDIO" $(ARGS)

## au audit: Audit a dataset: render it again, and measure how its images depend on each parameter (DIR=path)
au audit: $(ENV)
	@$(PYTHON) scripts/audit_dataset.py "$$DIR" $(ARGS)

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

## etmsr trivial-micro-regression: Train the micro CNN on the small set, one number per parameter instead of classes
etmsr trivial-micro-regression: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_small model=cnn_micro loss=regression experiment_name=cnn_micro_small_regression $(ARGS)

## evitms vit-micro-small: Train the micro ViT (8K parameters) on the small set
evitms vit-micro-small: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_small model=vit_micro $(ARGS)

## evitts vit-tiny-small: Train the tiny ViT (25K parameters) on the small set
evitts vit-tiny-small: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_small model=vit_tiny $(ARGS)

## evitml vit-micro-large: Train the micro ViT on the large set
evitml vit-micro-large: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_large model=vit_micro $(ARGS)

## evittl vit-tiny-large: Train the tiny ViT on the large set
evittl vit-tiny-large: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_large model=vit_tiny $(ARGS)

## evitall vit-trivial-all: Run all four ViT experiments on the saw sets
evitall vit-trivial-all: evitms evitts evitml evittl

## evitmsr vit-micro-regression: Train the micro ViT on the small set, one number per parameter instead of classes
evitmsr vit-micro-regression: $(ENV)
	$(PYTHON) src/train.py experiment=trivial_small model=vit_micro loss=regression experiment_name=vit_micro_small_regression $(ARGS)

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

## emer moog-envelope-regression: Train the CNN on the Moog set envelope, one number per parameter instead of classes
emer moog-envelope-regression: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_envelope loss=regression experiment_name=moog_cnn_envelope_regression $(ARGS)

## emvitb moog-vit-basic: Train the tiny ViT on the Moog set basic
emvitb moog-vit-basic: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_basic model=vit_tiny experiment_name=moog_vit_basic $(ARGS)

## emvite moog-vit-envelope: Train the tiny ViT on the Moog set envelope
emvite moog-vit-envelope: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_envelope model=vit_tiny experiment_name=moog_vit_envelope $(ARGS)

## emvitr moog-vit-resonance: Train the tiny ViT on the Moog set resonance
emvitr moog-vit-resonance: $(ENV)
	$(PYTHON) src/train.py experiment=moog_cnn_resonance model=vit_tiny experiment_name=moog_vit_resonance $(ARGS)

## emvit moog-vit: Train the tiny ViT on each Moog set
emvit moog-vit: emvitb emvite emvitr

## emvitgta moog-vit-all: Synthesize all Moog sets and train the tiny ViT on each
emvitgta moog-vit-all: sdma emvit

## ew experiment-wave: Train end to end on samples, Moog set basic, wave_cnn
ew experiment-wave: $(ENV)
	$(PYTHON) src/train.py experiment=wave $(ARGS)

## sc speech-commands: Train BC-ResNet on Speech Commands, which scripts/speech_commands.py CORPUS packs
sc speech-commands: $(ENV)
	$(PYTHON) src/train.py experiment=speech_commands $(ARGS)

## ed digits: Train the tiny CNN on scikit-learn's handwritten digits: pictures, no sounds
ed digits: $(ENV)
	$(PYTHON) src/train.py experiment=digits $(ARGS)

## ep pitch: Train the pitch of single notes of real instruments (needs SOUNDFONT=1 sh setup.sh, and a font)
ep pitch: $(ENV)
	$(PYTHON) src/train.py experiment=pitch $(ARGS)

## ef family: Train the family of real instruments
ef family: $(ENV)
	$(PYTHON) src/train.py experiment=family $(ARGS)

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

## kf kfold: Train on all folds of a dataset but one, for each; mean and spread; resumable (ARGS="data.data_dir=DIR model=NAME")
kf kfold: $(ENV)
	@$(PYTHON) scripts/kfold.py $(ARGS)

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

## bg bench-gpu: Measure generation and training on a GPU, 8 minutes (ARGS="--device cpu --small" rehearses it on the CPU)
bg bench-gpu: $(ENV)
	@$(PYTHON) scripts/bench_gpu.py $(ARGS)

## pp peers: Read the pitch of real instruments beside other trackers (needs SOUNDFONT=1 PEERS=1 sh setup.sh); resumable
pp peers: $(ENV)
	@$(PYTHON) scripts/peers.py $(ARGS)

## fam families: Tell families of real instruments, across fonts; resumable
fam families: $(ENV)
	@$(PYTHON) scripts/families.py $(ARGS)

## bm benchmark-models: Train every experiment and network within a time budget, and tabulate what they reach; resumable
bm benchmark-models: $(ENV)
	@$(PYTHON) scripts/benchmark_models.py $(ARGS)

## bu budgets: Train within 3 and 15 minutes of one core, by where sounds come from, and tabulate; hours, resumable
bu budgets: $(ENV)
	@$(PYTHON) scripts/budgets.py $(ARGS)

## ref references: Read the Moog sets by classical methods beside the networks, and tabulate; resumable
ref references: $(ENV)
	@$(PYTHON) scripts/references.py $(ARGS)

## rob robustness: Train on clean and perturbed sounds, read perturbed ones, and tabulate; 90 minutes, resumable
rob robustness: $(ENV)
	@$(PYTHON) scripts/robustness.py $(ARGS)

## str sim-to-real: Read other implementations of the Moog voice with networks of the set basic, and tabulate (RUNS="RUN …")
str sim-to-real: $(ENV)
	@set -f; $(PYTHON) scripts/sim_to_real.py $$RUNS $(ARGS)

## wd words: Have espeak-ng speak words as of Speech Commands, train on some voices, test on others, tabulate; resumable
wd words: $(ENV)
	@$(PYTHON) scripts/words.py $(ARGS)

## st study: Compare representations and end-to-end networks, 256 to 65,536 sounds, about 2 hours and 30 GB; resumable
st study: $(ENV)
	@$(PYTHON) scripts/study.py $(ARGS)

## stc study-compute: Error over computation, pictures and samples: up to 20 minutes a cell, 3 hours at a time; resumable
stc study-compute: $(ENV)
	@$(PYTHON) scripts/compute_study.py $(ARGS)

## stq study-quick: A corner of the study in a few minutes
stq study-quick: $(ENV)
	@$(PYTHON) scripts/study.py --quick $(ARGS)

## cg campaign: Do harm of every kind, and count what held; 40 minutes on 2 cores, fewer with ARGS="--scale 0.05"
cg campaign: $(ENV)
	@$(PYTHON) scripts/campaign.py $(ARGS)

## fork start: Make this template a project of your own (NAME=my-project KEEP="moog vit"); asks first, on a clean checkout
fork start: $(ENV)
	@$(PYTHON) scripts/start.py "$$NAME" --keep "$$KEEP" $(ARGS)

## ds docs: Build the documentation as a site in site/, with the reference from the docstrings; checks every link
ds docs: $(ENV)
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet $(ARGS)
	@echo "$(CURDIR)/site/index.html"

# ----- cleaning: a table first, then a question; ARGS=--dry-run only lists, ARGS=--yes does not ask

## c clean: Move generated datasets and runs to the trash, and delete caches
c clean:
	@$(ANY_PYTHON) scripts/clean.py data logs caches $(ARGS)

## dc data-clean: Move generated datasets to the trash, and free the one before
dc data-clean:
	@$(ANY_PYTHON) scripts/clean.py data $(ARGS)

## cl clean-logs: Move runs to the trash, except for the best on each dataset (ARGS=--best-too), and free the one before
cl clean-logs:
	@$(ANY_PYTHON) scripts/clean.py logs $(ARGS)

## uc undo-clean: Restore what the last clean moved to the trash
uc undo-clean:
	@$(ANY_PYTHON) scripts/clean.py data logs --undo $(ARGS)

# ----- looking

## pl play: Play an instrument whose sounds a network reads, as a live page; trains the example if there is no run (RUN=best)
pl play: $(ENV)
	@$(PYTHON) src/play.py train_example=true $(READ) $(ARGS)

## plp play-page: Write the live page as a folder for any host of static files (needs lld, or LINKER=1 sh setup.sh; RUN=best)
plp play-page: $(ENV)
	@$(PYTHON) src/play_page.py $(READ) $(ARGS)

## ddr display-recent: Show the newest dataset as a page: see, sort, filter, hear (ARGS="--save page.html", ARGS=--info)
ddr display-recent: $(ENV)
	@$(PYTHON) display_vimh.py $(ARGS)

## dds display-small: Show the small saw set
dds display-small: $(ENV)
	@$(PYTHON) display_vimh.py data/vimh-32x32x1_8000Hz_1p0s_256dss_simple_2p $(ARGS)

## ddl display-large: Show the large saw set
ddl display-large: $(ENV)
	@$(PYTHON) display_vimh.py data/vimh-32x32x1_8000Hz_1p0s_16384dss_simple_2p $(ARGS)

## rn runs: List every run: what it was and reached, complete or not, which is best (ARGS="network=cnn sort=error", --csv)
rn runs: $(ENV)
	@$(PYTHON) scripts/runs.py $(ARGS)

## cmp compare: Compare runs on one page: curves, paired differences, errors, sounds, cost (RUNS="best last example")
cmp compare: $(ENV)
	@set -f; $(PYTHON) scripts/compare.py $$RUNS $(ARGS)

## ae audio-eval: Listen to a run: a report, metrics beside references (RUN=best; default: the newest complete run)
ae audio-eval: $(ENV)
	@$(PYTHON) src/audio_eval.py $(READ) $(ARGS)

## tb tensorboard: Show the curves of all runs at port 6006
tb tensorboard: $(ENV)
	@$(PYTHON) scripts/show_curves.py

## lc list-configs: List models with their sizes, data, experiments and every other option
lc list-configs: $(ENV)
	@$(PYTHON) scripts/list_configs.py $(ARGS)

## td draw-networks: Draw a diagram of every network to docs/networks (ARGS="data=vimh_16kdss": to logs/networks)
td draw-networks: $(ENV)
	@$(PYTHON) scripts/draw_networks.py $(ARGS)

## tds draw-networks-text: Print every network block by block: shapes, parameters, multiply-adds
tds draw-networks-text: $(ENV)
	@$(PYTHON) scripts/draw_networks.py --text $(ARGS)

## tdl draw-networks-list: List the networks that can be drawn
tdl draw-networks-list: $(ENV)
	@$(PYTHON) scripts/draw_networks.py --list $(ARGS)

## pr predict: Read parameters from recordings, or name them (AUDIO=file, directory or pattern; RUN=best)
pr predict: $(ENV)
	@$(PYTHON) src/predict.py $(READ) "audio=$$AUDIO" $(ARGS)

## onnx export-onnx: Export a run to ONNX (RUN=best; default: the newest complete run)
onnx export-onnx: $(ENV)
	@$(PYTHON) src/export.py $(READ) $(ARGS)
