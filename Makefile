# SPDX-License-Identifier: Apache-2.0
# For habit: the build is meson's. On Debian 12, as root or through sudo, each target installs what it needs.

BUILD ?= build
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: all check demo bench install uninstall clean packages

all: packages
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD)
	@ninja -C $(BUILD)

packages:
	@packaging/install-packages

check: all
	@$(AS_ROOT) tests/run $(BUILD)

demo: all
	@$(AS_ROOT) env PAGEPACT_BUILD=$(BUILD) lab/run demo

bench: all
	@failed=; for scenario in demo limit agent integrity inodes wave balloon; do \
		$(AS_ROOT) env PAGEPACT_BUILD=$(BUILD) lab/run $$scenario --json $(BUILD)/$$scenario.json || failed="$$failed $$scenario"; \
	done; \
	$(AS_ROOT) env PAGEPACT_ALL_KERNELS=1 PAGEPACT_BUILD=$(abspath $(BUILD)) PYTHONPATH=. \
		/usr/bin/python3 -B -m pytest -p no:cacheprovider -q tests/guest || failed="$$failed tests-on-all-kernels"; \
	test -z "$$failed" || { echo "bench: checks failed in:$$failed"; exit 1; }

install: all
	@$(AS_ROOT) meson install -C $(BUILD)

uninstall:
	@$(AS_ROOT) packaging/uninstall $(BUILD)

clean:
	rm -rf $(BUILD) $(BUILD)-asan
