# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Makes the VM boot in half the time. bash reads this file (BASH_ENV) when
# virtme-init, the first process of the guest, starts: the functions here stand
# in for the programs of the same names that would set up hardware and
# directories that no test uses.

unset BASH_ENV

systemd-tmpfiles() { :; }
/usr/lib/systemd/systemd-udevd() { :; }

# The one thing that virtme-init needs from udev: named virtio ports.
udevadm() {
	local port
	[ "$1" = settle ] || return 0
	mkdir -p /dev/virtio-ports
	for port in /sys/class/virtio-ports/*; do
		ln -sf "/dev/${port##*/}" "/dev/virtio-ports/$(<"$port/name")"
	done
}
