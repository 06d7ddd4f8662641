# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# What the other scripts share: where things are, and how to say so.

# shellcheck disable=SC2034  # used by the scripts that source this file
CFTCP_TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CFTCP_CACHE=${CFTCP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cftcp}
CFTCP_PYTHON=/usr/bin/python3

# All progress goes to stderr: stdout belongs to the result.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Print the comment block at the head of the script as its help.
usage() { sed -n '/^# Usage/,/^[^#]\|^$/s/^# \{0,1\}//p' "$0"; }

# Kernel 6.1 is this machine's, the others are unpacked by scripts/setup; 6.1-rt
# is one with PREEMPT_RT.
kernel_root() {
	[ "$1" = 6.1 ] || printf '%s\n' "$CFTCP_CACHE/kernel-$1"
}

# The newest image of kernel $1, or nothing.
kernel_image() {
	local flavour=amd64
	[[ $1 != *-rt ]] || flavour=rt-amd64
	find "$(kernel_root "$1")/boot" -maxdepth 1 -regextype posix-extended \
		-regex ".*/vmlinuz-${1%-rt}\.[^-]*(-[0-9]+)?-$flavour" \
		2>/dev/null | sort -V | tail -n 1
}

# Its release name, and its headers.
kernel_release() {
	local image
	image=$(kernel_image "$1")
	printf '%s\n' "${image##*/vmlinuz-}"
}

kernel_headers() {
	printf '%s\n' "$(kernel_root "$1")/lib/modules/$(kernel_release "$1")/build"
}

# The unpacked part of linux-source-6.1 that the selftests and lint use.
kernel_source() { printf '%s\n' "$CFTCP_CACHE/linux-source"; }

# The programs that guests have and this machine may lack, a part of a root.
programs_dir() { printf '%s\n' "$CFTCP_CACHE/programs"; }

# The settings of the kernel "debug" or "kcsan"; the last of two holds.
debug_config() {
	cat "$CFTCP_TREE/selftests/debug.config"
	[ "$1" = debug ] || cat "$CFTCP_TREE/selftests/$1.config"
}

# The directory with the kernel "debug" or "kcsan" of this configuration.
debug_kernel_dir() {
	local key
	key=$({ dpkg-query -W -f '${Version}' linux-source-6.1
		debug_config "$1"
	} | sha256sum | cut -c1-16)
	printf '%s\n' "$CFTCP_CACHE/$1-kernel-$key"
}
