# make         the environment .venv with facetools and all it needs
# make demo    the main job on drawn faces; FACES=dir MODEL=file runs it on images of your own
# make test    the whole test suite
# make lint    style, types, import directions
# make man     the manual pages, made again from the commands' help (needs help2man)

PYTHON ?= python3
VENV := .venv/bin
INSTALLED := .venv/installed
CORE := CMakeLists.txt $(wildcard facetools/core/*)
COMMANDS := augment train predict cluster eigenface report

.PHONY: all demo test lint man clean

all: $(INSTALLED)

$(INSTALLED): pyproject.toml $(CORE)
	test -x $(VENV)/python || $(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --editable '.[test]' --config-settings=cmake.define.FACETOOLS_WERROR=ON
	touch $@

include demo.mk

test: $(INSTALLED)
	$(VENV)/python -m pytest

lint: $(INSTALLED)
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

man: $(INSTALLED)
	$(VENV)/python man/make.py

clean:
	rm -rf .venv build demo
