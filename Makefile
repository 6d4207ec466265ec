# `make demo` and `make test` set up everything they need in .venv.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
DEMO := demo-output
# `make demo MRI=path` segments that MRI instead of the sample that ships.
MRI ?=
# `make model DATA=folder HOURS=2`: where the working set lies, and when to stop for now.
DATA ?= ../shared/data
HOURS ?=

.PHONY: setup demo test test-all lint model benchmark clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.10 or newer is needed.' if sys.version_info < (3, 10) else 0)"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[slicer,test]"
	touch $(READY)

demo: setup
	$(BIN)/python Testing/demo/demo.py $(DEMO) $(if $(MRI),--mri "$(MRI)")

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

# The widget bench changes Qt's Python classes, so it has a process of its own; the last line counts both.
test: lint
	$(BIN)/python Testing/run_tests.py -m "not slow"

test-all: lint
	$(BIN)/python Testing/run_tests.py

# The model that ships, from the working set; may be interrupted, goes on where it was.
model: setup
	$(BIN)/python Testing/real_data/make_model.py $(DATA) runs/hip-mri $(if $(HOURS),--limit $(HOURS))

benchmark: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[benchmark]"
	$(BIN)/python Testing/benchmarks/run_all.py

clean:
	rm -rf .venv $(DEMO) build *.egg-info
