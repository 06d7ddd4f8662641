# SPDX-License-Identifier: GPL-2.0
#
# "make help" lists what there is to make.

KDIR ?= /lib/modules/$(shell uname -r)/build
KREL = $(notdir $(patsubst %/build,%,$(KDIR)))

# The kernels that virtual machines boot: this machine's, and one of setup's.
KERNELS ?= 6.1 6.12
export KERNELS

SHELL = /bin/bash

# Each kernel has a build directory of its own, made of links to the sources.
# make BUILD=... KDIR=... module builds anywhere for any kernel.
BUILD ?= build/$(KREL)

# Extra settings for kbuild, say W=1 or C=2.
KBUILD_FLAGS ?=
PARALLEL = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))

.PHONY: all module vm-module load unload setup demo check check-debug check-kcsan \
	attacks bench fuzz fuzz-parts soak model lint coverage clean help

all: module build/cftcpize.so

# What make fuzz runs in its machine.
build/whole: $(wildcard fuzz/whole*.[ch]) module/uapi/cftcp.h
	@mkdir -p build
	@$(CC) -O2 -g -Wall -Wextra -Wno-unused-parameter -D_GNU_SOURCE -pthread \
		-o $@ $(filter %.c,$^)

build/soak: selftests/soak.c
	@mkdir -p build
	@$(CC) -O2 -Wall -Wextra -o $@ $<

# What scripts/cftcpize preloads.
build/cftcpize.so: scripts/cftcpize.c module/uapi/cftcp.h
	@mkdir -p build
	@$(CC) -shared -fPIC -O2 -Wall -Wextra -o $@ $<

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

vm-module: $(KERNELS:%=vm-module-%) build/cftcpize.so

vm-module-%:
	@. scripts/lib.sh; release=$$(kernel_release '$*'); \
	test -n "$$release" || die 'no kernel $* here: run make setup'; \
	$(MAKE) --no-print-directory module \
		KDIR="$$(kernel_headers '$*')" BUILD="build/$$release" && \
	ln -sfn "$$release" 'build/$*'

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
	@$(MAKE) --no-print-directory vm-module KERNELS=6.1
	@scripts/demo

check:
	@scripts/check

check-debug:
	@scripts/check --debug

check-kcsan:
	@scripts/check --kcsan

attacks:
	@CFTCP_FULL=1 FAMILIES="$${FAMILIES:-4}" TESTS=test_attacks.py scripts/check --patient

bench:
	@scripts/bench $(BENCH)

model: setup
	@scripts/model

fuzz:
	@scripts/fuzz $(if $(SECONDS),--seconds $(SECONDS)) \
		$(if $(SEGMENTS),--segments $(SEGMENTS)) \
		$(if $(SEED),--seed $(SEED)) $(if $(KERNEL),--kernel $(KERNEL)) \
		$(if $(CPUS),--cpus $(CPUS)) $(if $(RECORD),--record)

fuzz-parts:
	@scripts/fuzz-parts $(SECONDS) $(TARGETS)

soak:
	@scripts/soak $(if $(CONNECTIONS),--connections $(CONNECTIONS)) \
		$(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(KERNEL),--kernel $(KERNEL))

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
	@echo 'make check         set up, and run all selftests in VMs, on both kernels;'
	@echo '                   TESTS="test_a.py test_b.sh" KERNELS=6.1 select'
	@echo 'make check-debug   the same on a kernel with KASAN, lockdep and kmemleak; CPUS=4'
	@echo 'make check-kcsan   the same on a kernel with KCSAN, which finds data races'
	@echo 'make attacks       the attacks of test_attacks.py, a million segments each'
	@echo 'make bench         set up, and measure cftcp against stock TCP in a VM;'
	@echo '                   BENCH="--quick --only crr rpc" as scripts/bench'
	@echo 'make model         prove the closing table in Spin, and that it would find errors'
	@echo 'make fuzz          fuzz the module in a VM; SECONDS=n SEGMENTS=n SEED=n KERNEL=6.1,'
	@echo '                   RECORD=1 adds it to the sum that README tells'
	@echo 'make fuzz-parts    fuzz the parts that need no kernel; SECONDS=n TARGETS="rto table"'
	@echo 'make soak          a million connections in an hour of virtual time, each octet'
	@echo '                   accounted for; CONNECTIONS=n SECONDS=n SEED=n KERNEL=6.12'
	@echo 'make lint          style, warnings, sparse, shellcheck'
	@echo 'make coverage      every requirement with its tests'
	@echo 'make vm-module     build for the kernels that VMs boot, into build/6.1 and 6.12'
	@echo 'make setup         only install what the above need'
	@echo 'make clean         remove what was built'
