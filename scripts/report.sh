# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced in a guest: unloading, and what the kernel has to complain of.

# KCSAN watches each 20th access, for it is slow and the module small.
be_strict() {
	local skip=/sys/module/kcsan/parameters/skip_watch
	sysctl -qw kernel.panic_on_oops=1
	[ ! -w $skip ] || echo 20 >$skip
}

SPLATS='WARNING|BUG|[Oo]ops|KASAN|UBSAN|ODEBUG|INFO: (task|rcu|possible|inconsis)'
SPLATS+='|suspicious|circular|refcount|leak|unregister_netdevice: waiting'
SPLATS+='|general protection|Call Trace|[Ss]leeping function|while atomic'
SPLATS+='|self-detected stall|soft lockup|Attempt to release|bad: scheduling'

loaded() { [ -d /sys/module/cftcp ]; }

# A namespace lasts as long as closed sockets of stock TCP in it do, and so do
# closed ones of ours beside them: minutes, which are none in virtual time.
unload() {
	local second
	for second in $(seq 240); do
		loaded || return 0
		rmmod cftcp 2>/dev/null && return 0
		sleep 1
	done
	echo "the module is still in use $second s after the test"
	cat /proc/net/cftcp 2>/dev/null
}

# Linux 6.1 forgets the name of a slab whose sysfs files it has no memory for.
without_names_of_slabs() {
	mawk '/^unreferenced/ {
		if (object !~ /sysfs_slab_add/)
			printf "%s", object
		object = ""
	}
	{ object = object $0 "\n" }
	END {
		if (object !~ /sysfs_slab_add/)
			printf "%s", object
	}'
}

kmemleak() {
	local file=/sys/kernel/debug/kmemleak
	[ -w $file ] || return 0
	echo scan >$file
	sleep 6 # what is younger than 5 s is not reported
	echo scan >$file
	without_names_of_slabs <$file
	echo clear >$file
}

lockdep() {
	if grep -q 'debug_locks:  *0' /proc/lockdep_stats 2>/dev/null; then
		echo "lockdep has turned itself off"
	fi
}

# KCSAN finds races of the kernel's own, too: ours name a function of ours.
without_races_of_others() {
	mawk '/=======================/ {
		held = held $0 "\n"
		inside = !inside
		if (!inside && !others)
			printf "%s", held
		if (!inside)
			held = ""
		others = 0
		next
	}
	!inside { print; next }
	/BUG: KCSAN/ { others = !/\[cftcp\]/ }
	{ held = held $0 "\n" }
	END { printf "%s", held }'
}

# What test_memory.py makes the kernel say: that there is no memory.
without_want_of_memory() {
	mawk '/kmem_cache_create\(.*failed with error -12/ { inside = 1 }
	/sysctl could not get directory: .* -12/ { inside = 1 }
	!inside && !/memory allocation failure, unreliable refcount tracker/
	/<\/TASK>/ { inside = 0 }'
}

splats() {
	dmesg | without_races_of_others | without_want_of_memory >dmesg.txt
	if grep -qE "$SPLATS" dmesg.txt; then
		head -n 300 dmesg.txt
	fi
}
