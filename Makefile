# `make run` opens the page, `make test` checks everything; both install what they need into .venv first.
# Another interpreter: make run PYTHON=python3.12. Options of the page: make run ARGS="--port 7861".

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# pip would compile what it installs on one core; compileall takes them all, and passes over what is compiled already.
# A file that is written for a newer Python is left out, as pip leaves it out.
COMPILE := $(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
# Numba compiles the parts of umap-learn once and keeps them: after a small fit, the first map waits no longer for it.
FIT := $(BIN)/python -c 'import pathlib, tempfile, numpy; from coladlm.latent.projection import fit_umap; \
    list(fit_umap(numpy.random.rand(60, 4), cache=pathlib.Path(tempfile.mkdtemp())))'
ARGS ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help run test lint format assets browser headless nginx curl clean

help:
	@echo "make run      open the page (ARGS='--help' lists its options)"
	@echo "make test     lint, then every test, those in a real browser among them"
	@echo "make lint     ruff: rules and format; pyrefly: types; eslint: the JavaScript of the page"
	@echo "make format   let ruff write the format"
	@echo "make assets   make anew what ships beside the bundled weights and no longer fits them, pictures too"
	@echo "make clean    remove the virtual environment and everything else that was built"

run: $(VENV)/installed
	$(BIN)/python app.py $(ARGS)

# Some forty processes of the tests import the page or the library: the first ones leave their bytecode to the others.
test: $(VENV)/installed-dev browser headless nginx curl lint
	$(BIN)/node --test --test-reporter=dot 'tests/js/*.test.*js'
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations=10 -rs

lint: $(VENV)/installed-dev node_modules/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/node node_modules/eslint/bin/eslint.js .

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

assets: $(VENV)/installed-dev browser
	$(BIN)/python -m coladlm.train.assets
	$(BIN)/python docs/pictures/take.py

# The browser that the tests of the page drive; tests/conftest.py looks for it under the same names.
browser:
	@for name in "$$CHROMIUM" chromium chromium-browser google-chrome google-chrome-stable; do \
	    [ -n "$$name" ] && command -v "$$name" > /dev/null 2>&1 && exit 0; \
	done; \
	[ -x "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" ] && exit 0; \
	if ! command -v apt-get > /dev/null 2>&1; then \
	    echo "No Chromium found and no apt-get to install it: install Chromium or Chrome, or set CHROMIUM to its path."; \
	    exit 1; \
	elif [ "$$(id -u)" = 0 ]; then as_root=; \
	elif command -v sudo > /dev/null 2>&1; then as_root="sudo"; \
	else \
	    echo "No Chromium found and no right to install it: run 'apt-get install chromium' as root, or set CHROMIUM to its path."; \
	    exit 1; \
	fi; \
	echo "No Chromium found; installing the package chromium."; \
	$$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium

# A browser without windows, which starts and opens pages in less time; where there is none, the tests use the other one.
headless:
	@for name in chromium-headless-shell chrome-headless-shell; do \
	    command -v "$$name" > /dev/null 2>&1 && exit 0; \
	done; \
	[ -n "$$CHROMIUM" ] && exit 0; \
	if ! command -v apt-get > /dev/null 2>&1; then exit 0; \
	elif [ "$$(id -u)" = 0 ]; then as_root=; \
	elif command -v sudo > /dev/null 2>&1; then as_root="sudo -n"; \
	else exit 0; \
	fi; \
	echo "Installing the package chromium-headless-shell, if there is one."; \
	{ $$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium-headless-shell; } \
	    || echo "Not installed: the tests will take longer."

# The proxy that tests/app/api/test_sub_path.py puts before the page.
nginx:
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin:/opt/homebrew/bin"; \
	if command -v nginx > /dev/null 2>&1; then exit 0; \
	elif ! command -v apt-get > /dev/null 2>&1; then \
	    echo "No nginx found and no apt-get to install it: install nginx."; \
	    exit 1; \
	elif [ "$$(id -u)" = 0 ]; then as_root=; \
	elif command -v sudo > /dev/null 2>&1; then as_root="sudo"; \
	else \
	    echo "No nginx found and no right to install it: run 'apt-get install nginx-light' as root."; \
	    exit 1; \
	fi; \
	echo "No nginx found; installing the package nginx-light."; \
	$$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx-light

# The test of "Copy as curl" runs the command that the page copies.
curl:
	@if command -v curl > /dev/null 2>&1; then exit 0; \
	elif ! command -v apt-get > /dev/null 2>&1; then \
	    echo "No curl found and no apt-get to install it: install curl."; \
	    exit 1; \
	elif [ "$$(id -u)" = 0 ]; then as_root=; \
	elif command -v sudo > /dev/null 2>&1; then as_root="sudo"; \
	else \
	    echo "No curl found and no right to install it: run 'apt-get install curl' as root."; \
	    exit 1; \
	fi; \
	echo "No curl found; installing the package curl."; \
	$$as_root apt-get update && $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends curl

$(VENV)/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=/path/to/python3.11")'
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module did not work; on Debian and Ubuntu it is the package python3-venv."; exit 1; }
	@touch $@

$(VENV)/installed: $(VENV)/created requirements.txt
	$(PIP) install --no-compile -r requirements.txt
	@$(COMPILE)
	@echo "Compiling the parts of umap-learn that a map needs, once."
	@$(FIT) > /dev/null || true
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	$(PIP) install --no-compile -r requirements-dev.txt
	@$(COMPILE)
	@touch $@

# Node and npm come with requirements-dev.txt; what is installed with them is only run here, never on the page.
node_modules/installed: package.json package-lock.json .npmrc | $(VENV)/installed-dev
	$(BIN)/npm ci --ignore-scripts --loglevel=error
	@touch $@

clean:
	rm -rf $(VENV) node_modules build *.egg-info .pytest_cache .ruff_cache .gradio
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
