# make           create .venv with facetools and all extras
# make demo      run the whole pipeline on drawn faces; FACES=dir [MODEL=file] runs it on your own photographs,
#                with ALIGN=no on face crops
# make test      run the test suite
# make lint      check style, types and import directions
# make bench     compare the core with its peers and measure growth: half an hour; make bench-quick: two minutes
# make sanitize  run the core's tests under the address, undefined behavior and thread sanitizers
# make fuzz      read a million mutated inputs: ten minutes on two cores
# make faults    kill, interrupt and starve the commands that write: half an hour on two cores
# make man       regenerate manual pages and completions from the commands' help (needs help2man)

PYTHON ?= python3
VENV := .venv/bin
# An editable install knows only the modules that existed when it was installed: reinstall when one is added or removed.
MODULES := $(sort $(wildcard facetools/*.py facetools/*/*.py facetools/*/*/*.py))
INSTALLED := .venv/installed-$(firstword $(shell echo $(MODULES) | cksum))
CORE := CMakeLists.txt $(wildcard facetools/core/*/*)

.PHONY: all demo test lint bench bench-quick sanitize fuzz faults man clean

all: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CORE)
	test -x $(VENV)/python || $(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --editable '.[all,test]' --config-settings=cmake.define.FACETOOLS_WERROR=ON
	touch $@

# The demo: draw faces, train on them and predict the held-out ones, or predict FACES with MODEL; then cluster and report.

RUN := demo/run/best.pt
DRAWN := demo/drawn
TRAINING := --recipe paper --backbone resnet18 --weights none --image-size 64 --epochs 10 --loss bce --optimizer adamw \
	--learning-rate 0.002 --schedule onecycle --attributes celeba40 --rotation 3 --shift 0.03 --shear 0 --zoom 0.03
COMMAND := PATH="$(CURDIR)/bin:$$PATH"; set -e;

demo: $(INSTALLED)
ifdef FACES
	mkdir -p demo  # keep the run and the faces of an earlier demo: FACES or MODEL may name them
	find demo -mindepth 1 -maxdepth 1 ! -name run ! -name drawn -exec rm -rf {} +
ifeq ($(ALIGN),no)
	$(COMMAND) fa-predict "$(FACES)" $(if $(MODEL),--model "$(MODEL)") -o demo/scores.jsonl
else
	$(COMMAND) fa-align "$(FACES)" -o demo/crops --table demo/crops.jsonl --sheet demo/photos.png || test $$? = 3
	$(COMMAND) fa-predict demo/crops.jsonl $(if $(MODEL),--model "$(MODEL)") -o demo/scores.jsonl
endif
else
	rm -rf demo && mkdir demo
	$(VENV)/python -m facetools.commands.draw $(DRAWN) --faces 3600 --valid-share 0.0833 --test-share 0.0833
	$(COMMAND) fa-train $(DRAWN) -o demo/run $(TRAINING) > demo/history.jsonl
	$(COMMAND) fa-predict $(DRAWN) --partition test --labels $(DRAWN) --model $(RUN) -o demo/scores.jsonl 2> demo/accuracy.txt
endif
	$(COMMAND) fa-cluster demo/scores.jsonl -k 8 --attributes paper10 --summary demo/summary.json > demo/clusters.jsonl
	$(COMMAND) fa-cluster demo/scores.jsonl --attributes paper10 --compare 2:20 > demo/comparison.jsonl
	$(COMMAND) fa-eigenface demo/clusters.jsonl -o demo/eigenfaces > demo/eigenfaces.jsonl
	$(COMMAND) fa-report demo/clusters.jsonl --eigenfaces demo/eigenfaces.jsonl --comparison demo/comparison.jsonl \
		$(if $(FACES),,--history demo/run) -o demo/report.html
	@echo
	@grep -h accuracy demo/accuracy.txt 2> /dev/null || true
	@echo "The report: $(CURDIR)/demo/report.html"

test: $(INSTALLED)
	$(VENV)/python -m pytest

lint: $(INSTALLED)
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

bench: $(INSTALLED)
	$(VENV)/python benchmarks/core.py
	$(VENV)/python benchmarks/growth.py

bench-quick: $(INSTALLED)
	$(VENV)/python benchmarks/core.py --quick

# Each sanitizer has its own environment with an instrumented core and takes all other packages from .venv. Python and its
# libraries are not instrumented, so leaks are not checked, and races only in the core.
sanitize: sanitize-address,undefined sanitize-thread

CORE_TESTS := tests/core tests/clustering/test_codes.py
PRELOAD_address,undefined := libasan.so
PRELOAD_thread := libtsan.so

PACKAGES := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
sanitize-%: $(INSTALLED)
	test -x build/$@/bin/python || $(PYTHON) -m venv build/$@
	build/$@/bin/python -m pip install --quiet --no-deps --editable . --config-settings=cmake.define.FACETOOLS_SANITIZE=$*
	$(VENV)/python $(PACKAGES) > $$(build/$@/bin/python $(PACKAGES))/packages-of-venv.pth
	ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	TSAN_OPTIONS=ignore_noninstrumented_modules=1:die_after_fork=0 \
	LD_PRELOAD="$$($(CXX) -print-file-name=$(PRELOAD_$*)) $$($(CXX) -print-file-name=libstdc++.so.6)" \
	setarch -R sh -euc 'build/$@/bin/python -c "from facetools import _core; assert \"$@\" in _core.__file__, _core"; \
		build/$@/bin/python -m pytest -p no:cacheprovider $(CORE_TESTS)'

fuzz: $(INSTALLED)
	$(VENV)/python -m tests.fuzz --count 1000000

faults: $(INSTALLED)
	$(VENV)/python -m tests.faults

man: $(INSTALLED)
	$(VENV)/python man/make.py

clean:
	rm -rf .venv build demo
