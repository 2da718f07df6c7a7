# SPDX-License-Identifier: GPL-3.0-or-later
# make help lists what there is to run.

LISTS := tests/packages.txt tests/simhost/packages.txt tests/modules/packages.txt tests/kernelhost/packages.txt tests/bench/packages.txt
RUN := .venv/bin/python tests/run.py
# The ansible-core of test-core, any that is supported.
CORE := 2.17
RELEASES := bookworm trixie s390x
KERNELHOST := PYTHONPATH=tests .venv/bin/python -m kernelhost

.PHONY: help setup demo test lint test-unit test-sim test-core test-kernel test-s390x endurance conformance docs bench kernelhost-up kernelhost-down clean

help: ## List the commands
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 18

setup: ## Install what development and all tests need (Debian packages, .venv)
	@tests/setup.sh $(LISTS)
	@tests/get_mdevctl.sh .build/mdevctl-1.4
	@tests/get_promtool.sh .build/promtool

demo: ## Show the life of a pool of vGPUs on a simulated GPU host, in about a minute
	@tests/setup.sh --demo tests/packages.txt tests/simhost/packages.txt
	@.venv/bin/python tests/demo.py

test: setup ## Run everything: lint, unit, simhost, conformance, kernelhost, s390x
	@$(RUN) lint unit sim conformance s390x kernel

lint: setup ## Run the linters, the type checker and ansible-test sanity
	@$(RUN) lint

test-unit: setup ## Run the unit tests on the oldest and the newest Python
	@$(RUN) unit

test-sim: setup ## Run the behaviour tests on the simulated host, molecule included
	@$(RUN) sim

test-core: setup ## Run playbooks and examples on the ansible-core that CORE names, as in make test-core CORE=2.17
	@tests/setup.sh --core $(CORE)
	@CORE=$(CORE) $(RUN) core

test-kernel: setup ## Run the behaviour tests on the virtual machine with a real kernel
	@$(RUN) kernel

test-s390x: setup ## Run the behaviour tests on the virtual machine with a mainframe's channels
	@$(RUN) s390x

docs: setup ## Build the documentation site in .build/docs/html, of modules, roles and pages
	@.venv/bin/python tests/docs/build.py

bench: setup ## Measure the inventory, pools, idle tasks and a fleet, and write docs/performance.md
	@PYTHONPATH=tests .venv/bin/python tests/bench/inventory.py
	@PYTHONPATH=tests .venv/bin/python tests/bench/pools.py
	@PYTHONPATH=tests .venv/bin/python tests/bench/tasks.py
	@PYTHONPATH=tests/modules:tests:playbooks/collections .venv/bin/python tests/bench/scale.py

endurance: setup ## Kill, make and remove again and again, far more often than the other targets do
	@$(RUN) endurance

conformance: setup ## Compare the inventory with those of real libvirtds, device by device
	@$(RUN) conformance

kernelhost-up: setup ## Boot the virtual machine of KERNELHOST_RELEASE, else Debian 13's, and leave it running
	@$(KERNELHOST) up

kernelhost-down: ## Stop the virtual machines
	@for release in $(RELEASES); do $(KERNELHOST) down --release $$release || exit; done

clean: ## Remove what the commands above made in this folder
	@if [ -e .venv ]; then $(MAKE) --no-print-directory kernelhost-down; fi
	rm -rf .build .venv .venv-2.* .venv-rulebook .venv-importer .venv-3.9
