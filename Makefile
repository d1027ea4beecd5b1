# `make run` and `make test` are all the set-up there is. `make help` lists the rest.
.DEFAULT_GOAL := help
.PHONY: help run test lint bench soak docs site conformance lock clean
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

help:  ## this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime  ## the whole loop on http://127.0.0.1:8000: demo keys, demo sign-in, embedded Valkey, upload page
	@exec $(BIN)/tokensvc dev $(ARGS)

test: lint $(VENV)/.debian $(VENV)/bin/promtool tests/e2e/node_modules/.installed tests/e2e/.python/.installed  ## every check and every test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(VENV)/.development  ## ruff, mypy --strict, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.peers  ## what an issue costs here, and what peers cost beside it; twenty minutes, or ARGS=--quick
	$(VENV)/service/bin/python -m compileall -q tokensvc  # as pip leaves it where it is deployed
	$(BIN)/python -m benchmarks --programs $(VENV)/peers/bin $(ARGS)

soak: $(VENV)/.development  ## the long runs, with their figures: hundreds of kills, a million nonces; ten minutes
	$(BIN)/python -m pytest -s -m soak --override-ini addopts="-ra --import-mode=importlib" $(PYTEST_ARGS)

docs: $(VENV)/.development  ## write the documentation pages that are made from the code
	PYTHONPATH=. $(BIN)/python docs/_tools/generate.py

site: $(VENV)/.development  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

conformance: $(VENV)/.debian tests/e2e/node_modules/.installed tests/e2e/.python/.installed  ## run every client, and write docs/conformance.md
	$(BIN)/python -m tests.e2e.conformance >docs/conformance.new && mv docs/conformance.new docs/conformance.md

LOCK := $(VENV)/lock/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header setup.cfg

lock:  ## resolve the dependencies of setup.cfg anew into the three lock files
	$(PYTHON) -m venv $(VENV)/lock && $(VENV)/lock/bin/pip install -q uv
	$(LOCK) --upgrade --extra test --extra lint --extra docs -o requirements-dev.lock
	$(LOCK) --constraint requirements-dev.lock -o requirements.lock
	$(LOCK) --constraint requirements-dev.lock --extra s3 --extra otel -o requirements-extras.lock

clean:  ## remove what make made, but not var/
	rm -rf $(VENV) build dist *.egg-info tests/e2e/node_modules tests/e2e/.python $(PEERS)/node/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.runtime: requirements.lock setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tokensvc needs Python 3.11 or newer: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/.development: $(VENV)/.runtime requirements-dev.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

# Programs that the tests drive. On another system put them on PATH: a test says which one it misses.
DEBIAN := buildah chromium curl debootstrap kotlin libandroid-json-java nginx-light redis-tools systemd
$(VENV)/.debian: $(VENV)/.development Makefile
	@! command -v apt-get >/dev/null || dpkg-query -W $(DEBIAN) >/dev/null 2>&1 || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(DEBIAN); }
	@touch $@

# Prometheus' own tool tries the alerts. Out of its package and no more: that, installed, starts a server.
$(VENV)/bin/promtool: $(VENV)/.debian
	@! command -v apt-get >/dev/null || command -v promtool >/dev/null || { cd $(VENV) && \
	  { apt-get download -qq -o APT::Sandbox::User=root prometheus || { apt-get update -qq && apt-get download -qq -o APT::Sandbox::User=root prometheus; } } && \
	  dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >bin/promtool.new && chmod +x bin/promtool.new && \
	  mv bin/promtool.new bin/promtool && rm prometheus_*.deb; }

# What `make bench` drives and compares with: programs of Debian, and peers of PyPI and npm at exact versions.
PEERS := benchmarks/peers
BENCH_PROGRAMS := wrk nginx-light redis-tools golang-go golang-gopkg-redis.v5-dev
$(VENV)/.peers: $(VENV)/.development $(PEERS)/requirements.txt $(PEERS)/node/package-lock.json $(PEERS)/go/main.go
	@dpkg -s $(BENCH_PROGRAMS) >/dev/null 2>&1 || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(BENCH_PROGRAMS); }
	$(PYTHON) -m venv $(VENV)/service
	$(VENV)/service/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(VENV)/service/bin/python -m pip install -q --disable-pip-version-check --no-deps -e .
	$(PYTHON) -m venv $(VENV)/peers
	$(VENV)/peers/bin/python -m pip install -q --disable-pip-version-check -r $(PEERS)/requirements.txt
	cd $(PEERS)/node && npm ci --no-audit --no-fund --loglevel=error
	GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=$(abspath $(VENV))/go-cache go build -o $(VENV)/peers/bin/go-peer $(PEERS)/go/main.go
	@touch $@

tests/e2e/node_modules/.installed: tests/e2e/package.json tests/e2e/package-lock.json
	cd tests/e2e && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

tests/e2e/.python/.installed: tests/e2e/requirements-imagekitio-4.txt $(VENV)/.development
	rm -rf tests/e2e/.python
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --target tests/e2e/.python -r $<
	@touch $@
