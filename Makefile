# Every verb runs in .venv and makes it first where it is missing or older than requirements.lock.
# `make` alone lists the verbs.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := uv==0.13.9
EXPERIMENT ?= reach-m2
# The build of torch: cpu, cu132 and so on from PyTorch's index, or locked: the registry's, with 4 GB of CUDA.
TORCH ?= cpu
TORCH_IS_APART := .ci/torch-is-apart
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python
# The pages, built from TypeScript with the Node of the environment; where their sources are newer, again.
PAGES := service/console
CONSOLE := $(PAGES)/built/index.html
PAGE_SOURCES := $(wildcard $(PAGES)/*.html $(PAGES)/*.ts $(PAGES)/*.json) $(shell find $(PAGES)/src -type f -not -name schema.ts)
API_SOURCES := $(shell find service/api metalearn/data -name '*.py')
NPM = cd $(PAGES) && PATH="$(abspath $(BIN)):$$PATH" npm --loglevel=error

# Tests and demos start many short processes: without compiled bytecode each would compile its libraries anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo train serve test test-all check audit fix console docs figures lock wheel clean images images-test secrets up stack stack-test

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) $(CONSOLE) ## make .venv with everything, learn2learn included, .venv/bin/wtl, and the pages

demo: $(READY) ## train reach-m2, serve it, adapt to 1,000 test tasks over REST (about 5 minutes on 2 cores)
	$(BIN)/wtl demo

train: $(READY) ## meta-train: make train EXPERIMENT=reach-m2
	$(BIN)/wtl train $(EXPERIMENT)

serve: $(READY) $(CONSOLE) ## serve the shipped models on http://127.0.0.1:8000
	$(BIN)/wtl serve

test: $(READY) $(CONSOLE) ## the fast tests, one process per core (5 to 6 minutes on 2 cores that do nothing else)
	$(BIN)/pytest -m "not slow" --numprocesses auto --dist loadscope

test-all: $(READY) $(CONSOLE) ## every test, property tests at length and the slow ones one after the other
	$(BIN)/pytest -m "not slow" --numprocesses auto --dist loadscope --hypothesis-profile thorough
	$(BIN)/pytest -m slow

check: $(READY) $(CONSOLE) ## formatting, lint, types, import contracts, declared and pinned dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/deptry --no-ansi .
	$(BIN)/python .ci/audit.py --offline

audit: $(READY) ## pinned dependencies: hashes, licences, consistency, known vulnerabilities
	$(BIN)/python .ci/audit.py

fix: $(READY) ## format, and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

console: $(READY) $(CONSOLE) ## build the pages of service/console, types checked

docs: $(READY) ## build the site into build/site, every link checked, and run the snippets of README.md and docs/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/pytest tests/repository/test_docs.py

figures: $(READY) ## write the tables of figures in README.md and docs/ from the committed reports
	$(BIN)/python .ci/figures.py

lock: $(READY) ## pin what pyproject.toml asks for in requirements.lock; versions that still fit stay
	@# Versions stay, their hashes are asked for again: uv would keep those of the Pythons that were wanted before.
	sed -i -e '/--hash=/d' -e 's/ \\$$//' requirements.lock
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --quiet \
		pyproject.toml --all-extras --group images --output-file requirements.lock

wheel: $(READY) $(CONSOLE) ## build the wheel and the source distribution, shipped models included, into build/dist
	$(BIN)/uv build --quiet --no-build-isolation --python $(BIN)/python --out-dir build/dist

images: $(READY) $(CONSOLE) ## build the serve and train images: docker where a daemon answers, else buildah (root)
	$(BIN)/python docker/images.py build

images-test: $(READY) $(CONSOLE) ## build both images, run them as they are meant to run, record benchmarks/results/images.json
	WTL_IMAGES=1 $(BIN)/pytest -s tests/deploy/test_images.py

secrets: $(READY)
	@$(BIN)/python docker/stack.py secrets docker/secrets

COMPOSE_UP = docker compose --file docker/compose.yaml
up: secrets ## start everything in containers: service, PostgreSQL, Ray, Prometheus, Grafana
	$(COMPOSE_UP) build
	$(COMPOSE_UP) run --rm migrate
	test -s docker/secrets/metrics_key || $(COMPOSE_UP) run --rm --no-deps --no-TTY migrate keys create \
		--scopes metrics --label prometheus > docker/secrets/metrics_key
	$(COMPOSE_UP) up --detach --wait
	@echo "http://127.0.0.1:8000; a key: $(COMPOSE_UP) exec serve wtl keys create"

stack: $(READY) ## the same services as processes on loopback, without containers
	$(BIN)/python docker/stack.py run

stack-test: $(READY) ## an adaptation and a training job against that stack
	$(BIN)/pytest tests/deploy/test_stack.py

clean: ## remove caches and build output; .venv, runs/ and data/ stay
	rm -rf $(PAGES)/built $(PAGES)/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(CONSOLE): $(PAGES)/node_modules/.ready build/openapi.json $(PAGE_SOURCES)
	$(NPM) run build
	@touch $@

$(PAGES)/node_modules/.ready: $(PAGES)/package.json $(PAGES)/package-lock.json | $(READY)
	$(NPM) ci
	@touch $@

build/openapi.json: $(API_SOURCES) | $(READY)
	@$(BIN)/python .ci/openapi.py $@

$(READY): requirements.lock pyproject.toml
	@./.ci/prerequisites >/dev/null
	@echo "Setting up $(VENV): one to five minutes, about 3 GB (6 GB with CUDA)."
	@test -x $(BIN)/pip || "$$(./.ci/prerequisites)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(UV)
ifeq ($(TORCH),locked)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
else
	$(INSTALL) --exact --require-hashes --constraint requirements.lock --excludes $(TORCH_IS_APART) \
		-r pyproject.toml --all-extras --group images
	@awk '/^[^ ]/ {torch = /^(torch|torchvision|triton)==/} !torch' requirements.lock > $(VENV)/apart.lock
	@$(INSTALL) --torch-backend $(TORCH) --constraint $(VENV)/apart.lock \
		$$(grep -oE '^torch(vision)?==[0-9.]+' requirements.lock) || { \
		echo "PyTorch's index has not answered: taking the registry's torch, with CUDA."; \
		$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock; }
endif
	$(INSTALL) --no-deps -e .
	@touch $@
