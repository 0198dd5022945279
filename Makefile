# Every target makes its environment in .venv. Choose another Python with: make PYTHON=python3.12 test

PYTHON ?= python3
VENV := .venv
IN_VENV := $(VENV)/bin/python

.PHONY: help demo test test-arm64 test-cupy lint bench results docs lab lab-times clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

help:
	@echo 'make demo    train the LSTM-CNN and print its test accuracy (make demo ARGS="--epochs 3")'
	@echo 'make test    run all tests (make test ARGS="-k lstm")'
	@echo 'make test-arm64 run the tests of the numbers on an emulated ARM processor (Debian; takes hours)'
	@echo 'make test-cupy  run the tests of the GPU with the real CuPy, without a GPU (downloads 0.25 GB)'
	@echo 'make lint    check style and types'
	@echo 'make bench   time it beside other frameworks (make bench ARGS="--rows step --peers torch")'
	@echo 'make results write examples/RESULTS.md and its figures (make results ARGS="--add runs/mnist_table1")'
	@echo 'make docs    make the documentation site: docs/_build/html/index.html'
	@echo 'make lab-times  time the lab, and state the times on its page'
	@echo 'make lab     make the lab for a site without a server: docs/_build/html/lab'
	@echo 'make clean   remove .venv, caches and build files'

demo: $(VENV)/demo.installed
	$(IN_VENV) examples/mnist_lstm_cnn.py $(ARGS)

test: $(VENV)/test.installed
	$(IN_VENV) -m pytest $(ARGS)

# Ops, kernels, threads, tape, layers and checkpoints.
ARM64_TESTS := tests/test_tiny.py tests/core/test_tape.py tests/ops tests/nn tests/backend/cpu \
	tests/training/test_checkpoint.py

test-arm64: $(VENV)/test.installed
	PYTHON=$(IN_VENV) tests/arm64.sh -m pytest --hypothesis-profile=few $(ARM64_TESTS) $(ARGS)

test-cupy: $(VENV)/test-cupy.installed
	$(IN_VENV) -m pytest -p tests.support.cupy_on_cpu.plugin -m "gpu or cupy" $(ARGS)

lint: $(VENV)/lint.installed
	$(IN_VENV) -m ruff check .
	$(IN_VENV) -m mypy

bench: $(VENV)/bench.installed
	$(IN_VENV) -m benchmarks $(ARGS)

results: $(VENV)/demo.installed
	$(IN_VENV) examples/results.py $(ARGS)

docs: $(VENV)/docs.installed
	$(IN_VENV) -m docs.site $(ARGS)

lab: $(VENV)/docs.installed
	$(IN_VENV) -m docs.lab $(ARGS)

lab-times: $(VENV)/test.installed
	$(IN_VENV) -m docs.lab_times

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

# One stamp for each extra of setup.cfg. If pip does not run, .venv is incomplete or its Python is gone: make it again.
# A distribution called tinynet is this one under its former name, or another project of the package index: remove it.
$(VENV)/%.installed: setup.cfg pyproject.toml
	@$(IN_VENV) -m pip --version >/dev/null 2>&1 || { $(make_venv); }
	@echo 'Installing tinynet[$*] into $(VENV) ...'
	@rm -rf tinynet.egg-info && $(IN_VENV) -m pip uninstall -qq --yes tinynet
	@$(IN_VENV) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

define make_venv
"$(PYTHON)" -c '' 2>/dev/null || { \
	echo "$(PYTHON) does not run: install Python 3.11 or newer, or name one with make PYTHON=/path/to/python." >&2; exit 1; }; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "$(PYTHON) is $$("$(PYTHON)" --version 2>&1), and tinynet needs 3.11 or newer: name one with make PYTHON=/path/to/python." >&2; exit 1; }; \
"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	echo "$(PYTHON) cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv and try again." >&2; exit 1; }; \
"$(PYTHON)" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
endef
