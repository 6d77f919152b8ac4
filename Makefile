# Works with GNU make 3.81, which macOS ships.
VENV   := .venv
SITE   := .venv-site
READY  := $(VENV)/.ready
BIN    := $(VENV)/bin
LABKIT := $(BIN)/labkit
UV     ?= uv
AGAIN  := 3
PARTS  := 3
BOTH   := --numprocesses 2 --dist loadfile
PYTEST := $(BIN)/python -m pytest --durations=15 --nbval-sanitize-with tests/sanitize.cfg
LIVE_PYTEST = $(PYTEST) --verbose --nbval-lax --retry -m live

# an unpacked bundle brings the wheels
WHEELS := $(if $(wildcard bundle/wheels),--no-index --find-links bundle/wheels)

.DEFAULT_GOAL := help
.PHONY: help lab lint test test-unit test-recorded test-live live-notebooks live-advanced live-tests fuzz site slides doctor engine images install up down status record bench clean

help: ## show this list
	@echo 'make lab     run the course here         make test    run every test this machine can'
	@echo
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

lab: $(READY) ## the environment, then JupyterLab on the first notebook
	@$(LABKIT) lab

lint: $(READY) ## what the code must keep to: ruff's rules and format, mypy's types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

test: test-unit test-recorded test-live ## every test this machine can run; says what it could not, and why

test-unit: $(READY)
	@$(MAKE) --no-print-directory $(SITE)/.ready || echo 'The tests of the site do not run.'
	@$(PYTEST) $(BOTH) -m 'not live' --quiet tests || { \
	  echo 'What failed runs once more, alone: a busy machine may stand still for longer than a test waits.'; \
	  $(PYTEST) -m 'not live' --verbose --last-failed --last-failed-no-failures none tests; }

test-recorded: $(READY)
	@$(PYTEST) $(BOTH) --verbose --nbval notebooks

# A live mesh waits more than it works: notebooks 20 to 29 and the last one, the other notebooks, and the tests have a
# cluster each, and all three run at the same time. A cluster takes 3 GiB: PARTS=1 runs one after the other.
# What fails runs once more, and the end of the run tells of it: a live mesh may lose a request by chance.
# LIVE=--require-live: fail where no mesh can be brought up; LIVE=--seed=1: the draws and the order of an earlier run;
# AGAIN=99: all notebooks a second time, and all of what is drawn
test-live: $(READY)
	@$(MAKE) --no-print-directory --jobs $(PARTS) live-advanced live-tests live-notebooks

live-notebooks: $(READY)
	@$(LIVE_PYTEST) --first='[!29]*' --again=$(AGAIN) $(LIVE) notebooks

live-advanced: $(READY)
	@LABKIT_PORT=$${LABKIT_PORT:-8180} $(LIVE_PYTEST) --cluster=istio-lab-test-2 --first='[29]*' $(LIVE) notebooks

live-tests: $(READY)
	@LABKIT_PORT=$${LABKIT_PORT:-8280} $(LIVE_PYTEST) --cluster=istio-lab-test-3 --again=$(AGAIN) $(LIVE) tests

# SEED=1: the same searches once more
fuzz: $(READY) ## random searches through the parsers, longer and with a fresh seed, which is printed
	@$(PYTEST) $(BOTH) --hypothesis-profile=fuzz $(if $(SEED),--hypothesis-seed=$(SEED)) -m hypothesis tests/unit

site: $(SITE)/.ready ## the whole course to read, as pages in build/site; nothing is run
	@$(SITE)/bin/python -m labkit.cli site

slides: $(SITE)/.ready ## a talk of each notebook, as pages in build/slides; nothing is run
	@$(SITE)/bin/python -m labkit.cli slides

doctor: $(READY) ## what this machine can do, with a remedy for each line that is not good
	@$(LABKIT) doctor

engine: $(READY) ## a Docker engine, on Debian as root; elsewhere what to do instead
	@$(LABKIT) engine install

images: $(READY) ## fetch or build all that a cluster needs
	@$(LABKIT) images

install: $(READY) ## what an unpacked bundle holds: the course then needs no network
	@$(LABKIT) bundle install

up: $(READY) ## a cluster, Istio on it, Bookinfo in it
	@$(LABKIT) up

down: $(READY) ## delete the course's cluster
	@$(LABKIT) down

status: $(READY) ## what stands, from the cluster to the page
	@$(LABKIT) status

record: $(READY) ## run the notebooks on a live mesh made anew; store their outputs and recordings
	@$(LABKIT) record

bench: $(READY) ## measure the course: labkit up, telemetry, propagation, all notebooks live and recorded
	@$(LABKIT) bench

clean: ## remove the environments, the site and what the tests left; a cluster stays (make down)
	rm -rf $(VENV) $(SITE) build .cache .pytest_cache .ruff_cache .mypy_cache .import_linter_cache .hypothesis

# The environment: the locked versions, then the course itself in place. Brought up to date when they change.
$(READY): requirements.lock pyproject.toml | $(BIN)/python
	@$(call install,$(VENV),$(WHEELS) --require-hashes -r requirements.lock)
	@$(call install,$(VENV),$(WHEELS) --no-deps --no-build-isolation -e .)
	@touch $@

# The site's tools, which running the course does without.
$(SITE)/.ready: requirements-site.lock | $(SITE)/bin/python
	@$(call install,$(SITE),--require-hashes -r requirements-site.lock)
	@touch $@

# In seconds by uv: the one on PATH, else the one that pip brought. Where it cannot, pip does it from the same lock, for
# pip may know a mirror or a certificate that uv does not. Files are copied where the cache lies on another file system.
install = uv=$$(PATH="$$PATH:$(1)/bin"; command -v "$(UV)") && { \
  ln -f "$$("$$uv" cache dir)/CACHEDIR.TAG" $(1)/.linked 2>/dev/null || export UV_LINK_MODE=$${UV_LINK_MODE:-copy}; \
  UV_DEFAULT_INDEX=$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$$PIP_INDEX_URL}} \
  "$$uv" pip install --python $(1)/bin/python $(2); } || { \
  echo 'Installing with pip: a minute or two.'; \
  { $(1)/bin/python -m pip --version || $(1)/bin/python -m ensurepip; } >/dev/null && \
  $(1)/bin/python -m pip install --disable-pip-version-check $(2); }

# uv finds a Python that fits pyproject.toml, or fetches one. Without it, Python makes the environment, and pip brings uv.
$(BIN)/python $(SITE)/bin/python:
	@echo 'Making the environment in $(@:/bin/python=).'; \
	if uv=$$(command -v "$(UV)"); then \
	  exec "$$uv" venv --quiet --allow-existing $(if $(PYTHON),--python "$(PYTHON)") $(@:/bin/python=); \
	fi; \
	for python in "$(PYTHON)" python3.13 python3.12 python3.11 python3.14 python3; do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null; then \
	    "$$python" -m venv --without-pip $(@:/bin/python=) || exit; \
	    test "$(UV)" || exit 0; \
	    set -- "$$python" -m pip --python $@; \
	    "$$@" --version >/dev/null 2>&1 || { $@ -m ensurepip >/dev/null; set -- $@ -m pip; }; \
	    "$$@" install --quiet --disable-pip-version-check $(WHEELS) --require-hashes -r requirements-uv.lock || true; \
	    exit 0; \
	  fi; \
	done; \
	echo 'No Python 3.11.4 or newer with its venv module was found.'; \
	echo '  Debian, Ubuntu: apt install python3 python3-venv    macOS: brew install python@3.13'; \
	echo '  Or name one: make PYTHON=/path/to/python3 lab       With conda: environment.yml'; \
	echo '  Or have uv fetch one: https://docs.astral.sh/uv'; \
	exit 1

# The same versions for conda. pip installs nothing in place beside hashes, so there the versions stand without them.
environment.yml: requirements.lock
	@{ printf '%s\n' '# Made from requirements.lock: make environment.yml' 'name: istio-lab' \
	    'channels: [conda-forge]' 'dependencies:' '  - python=3.13' '  - pip' '  - pip:'; \
	  sed -n 's/^\([A-Za-z0-9].*==[^\\]*[^\\ ]\) *\\*$$/      - "\1"/p' requirements.lock; \
	  echo '      - -e .'; } > $@
