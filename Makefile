# SPDX-License-Identifier: GPL-2.0
#
# "make help" lists what there is to make.

KDIR ?= /lib/modules/$(shell uname -r)/build
KREL = $(notdir $(patsubst %/build,%,$(KDIR)))

# The newest Debian 6.1 kernel that is installed: the one that the VM boots.
VM_KREL = $(patsubst /boot/vmlinuz-%,%,$(shell ls -v /boot/vmlinuz-6.1.*-amd64 2>/dev/null | tail -n 1))

# Each kernel has a build directory of its own, made of links to the sources.
# make BUILD=... KDIR=... module builds anywhere for any kernel.
BUILD ?= build/$(KREL)

# Extra settings for kbuild, say W=1 or C=2.
KBUILD_FLAGS ?=
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all module vm-module load unload setup demo check check-debug lint \
	coverage clean help

all: module

module:
	@test -e '$(KDIR)/Makefile' || { \
		echo 'No kernel headers in $(KDIR).'; \
		echo 'Install them (Debian: apt-get install linux-headers-amd64, then boot that kernel),'; \
		echo 'or name another kernel: make KDIR=/path/to/its/headers.'; \
		echo 'To try cftcp without touching this machine: make demo.'; exit 1; } >&2
	@mkdir -p '$(BUILD)'
	@find '$(BUILD)' -xtype l -delete
	@cp -rsf '$(CURDIR)/module' '$(CURDIR)/Kbuild' '$(BUILD)'
	@$(MAKE) $(PARALLEL) -C '$(KDIR)' M='$(abspath $(BUILD))' $(KBUILD_FLAGS) modules
	@ln -sf '$(BUILD)/cftcp.ko' cftcp.ko

vm-module:
	@$(MAKE) --no-print-directory module \
		KDIR='/lib/modules/$(VM_KREL)/build' BUILD='build/$(VM_KREL)'
	@ln -sfn '$(VM_KREL)' build/6.1

load:
	@test -e 'build/$(shell uname -r)/cftcp.ko' || { \
		echo 'No module for the running kernel yet: run make first.'; exit 1; } >&2
	@test "$$(id -u)" = 0 || { \
		echo 'Loading a module needs root: sudo make load'; exit 1; } >&2
	insmod 'build/$(shell uname -r)/cftcp.ko'

unload:
	@test "$$(id -u)" = 0 || { \
		echo 'Unloading a module needs root: sudo make unload'; exit 1; } >&2
	rmmod cftcp

setup:
	@scripts/setup

demo: setup
	@$(MAKE) --no-print-directory vm-module
	@scripts/demo

check:
	@scripts/check

check-debug:
	@scripts/check --debug

lint:
	@scripts/lint

coverage:
	@scripts/coverage

clean:
	rm -rf build cftcp.ko

help:
	@echo 'make               build cftcp.ko for the running kernel (KDIR= for another)'
	@echo 'sudo make load     insert it; sudo make unload removes it'
	@echo 'make demo          set up, and show three closes against stock TCP in a VM'
	@echo 'make check         set up, and run all selftests in a VM'
	@echo '                   TESTS="test_a.py test_b.sh" selects some of them'
	@echo 'make check-debug   the same on a kernel with KASAN, lockdep and kmemleak'
	@echo 'make lint          style, warnings, sparse, shellcheck'
	@echo 'make coverage      every requirement with its tests'
	@echo 'make vm-module     build for the kernel that the VM boots, into build/6.1'
	@echo 'make setup         only install what the above need'
	@echo 'make clean         remove what was built'
