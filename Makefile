# One door to the project; `make` alone says what there is.
# Needs a supported python3, git and make (GNU make 3.81 will do, as macOS has it), and nothing else.

.DEFAULT_GOAL := help
.PHONY: help setup dataset up down lint check test test-all torch docker bench soak fuzz docs format lock clean

ifeq ($(OS),Windows_NT)
$(error synthcore forks for every render, which Windows can't do: run make inside WSL)
endif

BIN := .venv/bin

help:
	@echo 'synthcore makes datasets of (audio, parameters) pairs for inverse synthesis with Vital.'
	@echo
	@echo '  make dataset   render a first dataset of 256 rows into data/demo.h5'
	@echo '  make up        keep a Prefect server, all deployments and a worker running (docs/operations.md)'
	@echo '  make down      end what make up started'
	@echo '  make setup     only build .venv from requirements.lock: half a minute once, then nothing'
	@echo
	@echo 'To work on synthcore itself (CONTRIBUTING.md):'
	@echo '  make check     format, lint, types, layers and the fast tests: before every commit'
	@echo '  make test      those and the slow tests: real synth, real HDF5, real Prefect server'
	@echo '  make test-all  two minutes of soak, and the whole suite: also what takes long, docker and Slurm if they are here'
	@echo '  make torch     add PyTorch (CPU, 200 MB) to .venv: without it, the tests that train are skipped'
	@echo '  make docker    build the image and run it in every way (deployments/README.md): takes a Docker daemon'
	@echo '  make bench     ratios against the baselines'
	@echo '  make soak      random specs, kills and resumes for an hour, the laws checked after each; MINUTES=5'
	@echo '  make fuzz      give the readers of strangers'\'' files anything, for some twenty minutes'
	@echo '  make docs      this documentation as a site, with a page for each public name: build/site'
	@echo '  make format    rewrite the code the way the check wants it'
	@echo '  make lock      rewrite requirements.lock after a change in pyproject.toml;'
	@echo '                 FLAGS=--upgrade also moves on to the newest versions'
	@echo '  make clean     remove .venv and the caches, never your data'
	@echo
	@echo 'What needs .venv builds it first. Another interpreter:'
	@echo '  make clean setup PYTHON=python3.13'

# --- Set-up ----------------------------------------------------------------------------------------------------------

# The interpreter .venv is built with: the PYTHON you name, or else the first of these that will do.
PYTHON ?= python3
PYTHONS := $(PYTHON) $(if $(filter file,$(origin PYTHON)),python3.13 python3.12 python3.11)

# Python 3.OLDEST to 3.NEWEST; pyproject.toml's requires-python is where the range is written.
OLDEST := $(shell sed -n 's/^requires-python = ">=3\.\([0-9]*\),.*/\1/p' pyproject.toml)
NEWEST := $(shell expr $$(sed -n 's/^requires-python = .*,<3\.\([0-9]*\)".*/\1/p' pyproject.toml) - 1)

# Exits 0 when this interpreter and machine will do, otherwise says why not. Old Pythons must be able to read it.
define JUDGE
import platform, sys, sysconfig
name, version = sys.argv[1], sys.version_info[:2]
libc = "musl" if "musl" in (sysconfig.get_config_var("SOABI") or "") else ""
machine = " ".join([sys.platform, platform.machine(), libc]).strip()
if not (3, $(OLDEST)) <= version <= (3, $(NEWEST)):
    print("%s is Python %d.%d, and synthcore runs on 3.$(OLDEST) to 3.$(NEWEST): install one of these, "
          "or name it with PYTHON=/path/to/python3" % ((name,) + version))
    sys.exit(1)
if machine not in ("linux x86_64", "darwin arm64"):
    print("vita, the synth, is built for Linux on x86-64 (with glibc) and for macOS on Apple silicon; "
          "%s is made for %s" % (name, machine))
    sys.exit(1)
try:
    import ensurepip, venv
except ImportError:
    print("%s can't make virtual environments, having no ensurepip; "
          "on Debian or Ubuntu: apt install python%d.%d-venv" % ((name,) + version))
    sys.exit(1)
endef
export JUDGE

# Prints the interpreter to use, or says in one line why there is none.
define FIND_PYTHON
reason="there is no $(PYTHON) here: install Python 3.$(OLDEST) to 3.$(NEWEST)"
for python in $(PYTHONS); do
    if said=$$("$$python" -c "$$JUDGE" "$$python" 2>/dev/null); then echo "$$python"; exit 0; fi
    if [ -n "$$said" ]; then reason=$$said; fi
done
echo "make: $$reason." >&2
exit 1
endef
export FIND_PYTHON

# What .venv was built from is in the names of two stamps. Each is written last, so a set-up that was cut short leaves
# none and starts again. The first is over the lock and this folder, whose path is written into .venv's scripts.
LOCKED := .venv/.locked-$(shell { cat requirements.lock; pwd -P; } | cksum | cut -d' ' -f1)
READY := .venv/.ready-$(shell cat pyproject.toml | cksum | cut -d' ' -f1)

# An upgrade of the system's Python can take away the one that .venv was built with: then forget that it was built.
$(shell [ ! -d .venv ] || $(BIN)/python -c '' 2>/dev/null || rm -f .venv/.locked-*)

setup: $(READY)

# Runs uv as pip is configured here: it reads neither pip's files nor its variables. Of its own, those that are set hold.
# pip takes the best match of all its indexes, uv by default the first that has the package; the hashes make that safe.
# Told to compare versions, uv still takes all files of one version from one index: the main one first, as the most whole.
define RUN_UV
import ast, os, subprocess, sys
from pip._internal.models.index import PyPI
names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "find-links": "UV_FIND_LINKS",
         "trusted-host": "UV_INSECURE_HOST", "cert": "SSL_CERT_FILE", "proxy": "ALL_PROXY", "no-index": "UV_NO_INDEX"}
listed = subprocess.check_output([sys.executable, "-m", "pip", "config", "list"], text=True).splitlines()
told = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
for section in ("global.", "install.", ":env:."):
    for name, _, value in (line.partition("=") for line in listed):
        if name.startswith(section) and name[len(section):] in names:
            words = ast.literal_eval(value).split()
            told[names[name[len(section):]]] = ("," if "find-links" in name else " ").join(words)
if "UV_INDEX" in told:
    told["UV_INDEX"] = told.get("UV_DEFAULT_INDEX", PyPI.simple_url) + " " + told["UV_INDEX"]
os.execve(os.path.join(os.path.dirname(sys.executable), "uv"), ["uv"] + sys.argv[1:], dict(told, **os.environ))
endef
export RUN_UV

# uv takes a sixth of pip's time, and is in the lock itself. Where it can't do it, pip does; make setup INSTALLER=pip
# begins with pip. --no-deps: the lock is complete, nothing is left to resolve. --only-binary: a missing wheel should fail
# here and by its name, not in a compiler that isn't there. What exists as source alone, all of it Python, is named:
# jsonpath-rw, of mlcroissant. Bytecode: else each first import makes it.
INSTALLER := uv
SOURCE_ONLY := jsonpath-rw
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
UV := $(BIN)/python -c "$$RUN_UV" pip install --quiet --python $(BIN)/python --no-deps
FROM_LOCK := --only-binary :all: $(SOURCE_ONLY:%=--no-binary %) --require-hashes -r
LOCK_pip := $(PIP) $(FROM_LOCK) requirements.lock
LOCK_uv := { sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | $(PIP) $(FROM_LOCK) /dev/stdin \
	&& $(UV) --compile-bytecode $(FROM_LOCK) requirements.lock; } \
	|| { echo 'make: pip takes over from uv.' >&2; $(LOCK_pip); }

# --clear: a package that left the lock must leave .venv.
$(LOCKED):
	@set -e; python=$$(sh -c "$$FIND_PYTHON"); \
	echo "Building .venv with $$("$$python" -V): half a minute, once, plus the downloads."; \
	"$$python" -m venv --clear .venv; \
	echo 'Installing what requirements.lock lists.'; \
	$(LOCK_$(INSTALLER)); \
	touch $@

# editable_mode: the other modes answer to "synthcore" only after the folder one is in, which may hold a clone of that name.
EDITABLE := --no-build-isolation --config-settings editable_mode=compat --editable .
$(READY): $(LOCKED)
	@rm -f .venv/.ready-*
	@$(UV) $(EDITABLE) 2>/dev/null || $(PIP) $(EDITABLE)
	@$(BIN)/python -P -m synthcore.flows.running.serve --template
	@touch $@

# --- What it is for --------------------------------------------------------------------------------------------------

dataset: setup
	@echo 'Rendering 256 rows into data/demo.h5.'
	@$(BIN)/synthcore generate --tier 1 -n 256 --rows-per-shard 48 -o data/demo.h5

up: setup
	@$(BIN)/synthcore up

down: setup
	@$(BIN)/synthcore down

# --- Working on it ---------------------------------------------------------------------------------------------------

# Tests of a file stay together: they share what they have made. conftest.py puts the long files first.
CORES := $$(getconf _NPROCESSORS_ONLN)
PYTEST := $(BIN)/pytest --dist loadfile --no-loadscope-reorder --numprocesses

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint
	$(PYTEST) $(CORES) -m "not slow and not long"

# More at a time than cores: slow tests wait for servers about as much as they compute.
test: setup
	$(PYTEST) $$(($(CORES) + 1)) -m "not long"

# The same rounds each time: what fails here should fail again.
test-all: setup
	$(BIN)/python -m benchmarks.soak --minutes 2 --seed 1
	$(PYTEST) $$(($(CORES) + 1))

# Where a Docker daemon answers. On Debian without one: sudo deployments/try-docker make docker
docker: setup
	$(BIN)/pytest -m docker tests/flows/test_docker.py

# An extra, and in no lock: each machine has its own build. Linux has one for the CPU alone; where the package index has
# it not, FLAGS names PyTorch's own. Nothing of the lock is replaced: pip leaves alone what will do.
TORCH := torch==2.13.0$(if $(filter Linux,$(shell uname)),+cpu)
PIP_TORCH := $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 1 '$(TORCH)'

torch: setup
	@$(BIN)/python -c 'import torch' 2>/dev/null || $(PIP_TORCH) $(FLAGS) \
		|| { echo "make: no $(TORCH) here; name an index that has it, as PyTorch's page does: make torch" \
			"FLAGS='--extra-index-url ADDRESS'; or take the one for GPUs, of gigabytes: make torch TORCH=torch" >&2; exit 1; }

bench: torch
	$(BIN)/python -m benchmarks

soak: setup
	$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60) $(SEED:%=--seed %) $(ROUNDS:%=--rounds %)

fuzz: setup
	FUZZ=100 $(BIN)/python -m pytest -q -o timeout=0 tests/test_fuzz.py

# A warning ends it (mkdocs.yml). The variable: else the theme announces its successor before every build.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo 'Open build/site/index.html. To search as well: python3 -m http.server --directory build/site'

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

define BUILD_REQUIREMENTS
import pathlib, tomllib
print(*tomllib.loads(pathlib.Path("pyproject.toml").read_text())["build-system"]["requires"], sep="\n")
endef
export BUILD_REQUIREMENTS

# One lock for every system and Python we support. uv is a guest: it comes by pip and goes when the lock is written.
# The build requirements are in the lock too, because set-up installs synthcore itself without build isolation.
lock:
	@set -e; python=$$(sh -c "$$FIND_PYTHON"); guest=$$(mktemp -d); trap 'rm -rf "$$guest"' EXIT; \
	"$$python" -m venv "$$guest"; \
	"$$guest/bin/python" -m pip install --quiet --disable-pip-version-check uv; \
	"$$guest/bin/python" -c "$$BUILD_REQUIREMENTS" > "$$guest/build.in"; \
	"$$guest/bin/uv" pip compile --quiet --no-config --universal --python-version 3.$(OLDEST) --fork-strategy fewest \
		--generate-hashes --no-strip-extras --custom-compile-command 'make lock' --extra dev --extra dask --extra slurm --extra evaluate --extra match \
		--extra publish --extra remote --extra docs $(FLAGS) \
		--output-file requirements.lock pyproject.toml - < "$$guest/build.in"; \
	if grep -n '://' requirements.lock; then echo 'make: the lock names an address.' >&2; exit 1; fi

clean:
	rm -rf .venv *.egg-info build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find flows tasks synthcore benchmarks tests -name __pycache__ -type d -prune -exec rm -rf {} +
