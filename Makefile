# `make demo` and `make test` set everything up by themselves; both can be repeated at once.
SHELL := bash
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
READY := .venv/ready

.PHONY: demo test lint format lock mlflow pull site

demo: $(READY)
	@snakemake demo
	@lifelong compare

test: $(READY)
	@pytest -n 2 --dist worksteal

lint: $(READY)
	ruff check
	ruff format --check
	mypy
	@snakemake --lint

format: $(READY)
	ruff check --fix
	ruff format

# Opens MLflow's page on http://127.0.0.1:5000 (PORT=...).
mlflow: $(READY)
	@lifelong ui --port $(or $(PORT),5000)

# Models and data of a reproduction from the DVC remote; afterwards snakemake has nothing to do.
pull: $(READY)
	dvc pull train-digits data-digits
	snakemake digits

# Docs and reports as one static site, in build/site.
site: $(READY) .venv/site
	@mkdocs build --quiet --strict

.venv/site: site.lock
	@uv pip install --quiet --requirements site.lock
	@touch $@

lock: $(READY)
	uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
		--generate-hashes --extra dev --extra cluster pyproject.toml -o requirements.lock
	python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["site"])' \
		| uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate --generate-hashes \
		--constraint requirements.lock - -o site.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version); Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@echo "Installing into .venv: 7 GB on the disk, a minute or two on a fast line" >&2
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv
	@python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@uv pip install $$([ -t 2 ] || echo --quiet) --compile-bytecode --requirements requirements.lock
	@uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
