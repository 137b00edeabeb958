# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
# Guest VMs in the host VM: stock QEMU with KVM, a VF passed through, the client in the guest.
# Source it after tests/vm/lib.sh.

# shellcheck source=scripts/versions.env
. /gim/scripts/versions.env
# Guests have the stock kernel, whatever the host has.
GUEST_KERNEL=/gim/build/vmlinux-$KERNEL_RELEASE
[ -e "$GUEST_KERNEL" ] || GUEST_KERNEL=/usr/lib/modules/$KERNEL_RELEASE/vmlinuz
GUEST_MEM=192
GUEST_QEMU=qemu-system-x86_64
GUEST_MACHINE=q35

# All its checkers follow each exit of a guest: how long that takes was not tried.
[ -z "$SLOW" ] || skip "guest VMs are not tried on the debug kernel"

# hosts [N [PARAMETER...]]: gim with four VFs, or N, KVM if this host has it, and VFIO with migration,
# whose driver for the VFs gets the parameters.
hosts() {
	count=${1:-4}
	[ $# = 0 ] || shift
	load guard=0 && load_vfio "$@" && numvfs "$count" || return 1
	load_kvm || true
}
# The modules of a kernel that we have built are not installed.
load_kvm() {
	built=/build/$(uname -r | sed 's/.*-gim-//')/obj/arch/x86/kvm
	if [ -e "$built/kvm.ko" ]; then
		insmod "$built/kvm.ko" && { insmod "$built/kvm-amd.ko" || insmod "$built/kvm-intel.ko"; }
	else
		modprobe kvm_amd || modprobe kvm_intel
	fi
}
# Where the outer KVM does not nest, guests are emulated.
accel() {
	if [ -w /dev/kvm ]; then echo "-accel kvm -cpu host"; else echo "-accel tcg -cpu max"; fi
}
# Nothing tells which memory the device writes: QEMU takes all of it to be dirty, when the guest has
# stopped; not before, or it would never come to an end.
GUEST_VFIO=enable-migration=on,x-pre-copy-dirty-page-tracking=off

# Its kernel goes without what scripts/vm spares an emulated one.
# guest NAME N CLIENT-ARGUMENTS [QEMU-OPTION...]: a guest VM with VF N.  Its console is NAME.console,
# what the client says NAME.out, what it is told NAME.in, QEMU's own words NAME.qemu, its monitor NAME.qmp,
# all in /tmp.  VF may be an address, too.
guest() {
	g=$1 n=$2 args=$3
	shift 3
	case $n in *:*) ;; *) n=$(vf "$n") ;; esac
	rm -f "/tmp/$g".*
	mkfifo "/tmp/$g.in"
	# Whoever waits for it is not to wait for its CPU.  It has both ends of its input, which so never ends.
	# shellcheck disable=SC2046,SC2086
	nice $GUEST_QEMU -M "$GUEST_MACHINE" $(accel) -smp 1 -m $GUEST_MEM -nodefaults -no-reboot -display none \
		-serial "file:/tmp/$g.console" -name "$g" -chardev "file,id=line,path=/tmp/$g.out,input-path=/tmp/$g.in" -serial chardev:line -qmp "unix:/tmp/$g.qmp,server=on,wait=off" \
		-device "vfio-pci,id=vf,host=$n,$GUEST_VFIO" \
		-kernel "$GUEST_KERNEL" -initrd /gim/build/guest.cpio \
		-append "console=ttyS0 loglevel=4 hugepages=8 init_on_free=1 intel_iommu=on rodata=off initcall_blacklist=load_system_certificate_list panic=-1 -- $args" "$@" > "/tmp/$g.qemu" 2>&1 3<> "/tmp/$g.in" &
	echo $! > "/tmp/$g.pid"
}
qmp() { tests/guest/qmp "$@"; }
# target NAME N CLIENT-ARGUMENTS: a QEMU that waits for a guest, to have it with VF N.
target() {
	guest "$1" "$2" "$3" -incoming defer
	qmp "@$1" precopy migrate-incoming "{\"uri\":\"unix:/tmp/$1.wire\"}"
}
# departs FROM TO WORD...: FROM sets out for TO, and then is told more.
departs() {
	from=$1 to=$2
	shift 2
	qmp "@$from" precopy migrate "{\"uri\":\"unix:/tmp/$to.wire\"}" "$@"
}
# moves_live FROM TO WORD...: FROM sets out for TO, is told more, and in the end has gone and TO runs. What was
# said is in /tmp/moved.
moves_live() {
	departs "$@" wait=completed query-status "@$2" query-status > /tmp/moved 2>&1 ||
		! cat /tmp/moved || ! guest_state "$1" || ! guest_state "$2" || return 1
	{ grep -q '"status": "postmigrate"' /tmp/moved && tail -n 1 /tmp/moved | grep -q '"status": "running"'; } || ! cat /tmp/moved
}
# replaceable: guests from here on have a QEMU that can be replaced under them. It hands over its
# descriptors, the VF's and that of the guest's memory, and nothing is copied.
replaceable() {
	next=/opt/qemu-next/usr
	GUEST_QEMU="$next/bin/qemu-system-x86_64 -L $next/share/qemu -L $next/share/seabios -object memory-backend-memfd,id=ram0,size=${GUEST_MEM}M,share=on"
	GUEST_MACHINE=q35,memory-backend=ram0,aux-ram-share=on
	GUEST_VFIO=enable-migration=off
}
# interruptible: guests from here on have an IOMMU, and so VFIO, by which the client takes interrupts.
interruptible() {
	GUEST_QEMU="$GUEST_QEMU -device intel-iommu,intremap=on,caching-mode=on"
	GUEST_MACHINE=$GUEST_MACHINE,kernel-irqchip=split
}
channel() { echo "{\"channel-type\":\"$1\",\"addr\":{\"transport\":\"socket\",\"type\":\"unix\",\"path\":\"/tmp/$2\"}}"; }
# heir NAME N CLIENT-ARGUMENTS: a QEMU that waits to take over a guest and its VF N. Until it is given the
# descriptors it answers nobody.
heir() {
	guest "$1" "$2" "$3" -incoming "unix:/tmp/$1.wire" -incoming "$(channel cpr "$1.cpr")"
	wait_for 60 test -S "/tmp/$1.cpr" || ! guest_state "$1"
}
# hands_over FROM TO WORD...: FROM begins to give all it has to TO, and then is told more.
hands_over() {
	from=$1 to=$2
	shift 2
	qmp "@$from" migrate-set-parameters '{"mode":"cpr-transfer"}' \
		migrate "{\"channels\":[$(channel main "$to.wire"),$(channel cpr "$to.cpr")]}" "$@"
}
# said NAME REGEX: the client in the guest has said so.
said() { grep -qs "$2" "/tmp/$1.out"; }
# says NAME REGEX SECONDS: it will; else everything that there is to see of the guest.
says() {
	{ wait_for "$3" said_or_dead "$1" "$2" && said "$1" "$2"; } || ! guest_state "$1"
}
said_or_dead() { said "$1" "$2" || dead "$1"; }
# up NAME: it has booted, which takes 20 s where nothing else runs.
up() { says "$1" '^guest up' 90; }
# hurry NAME: its job has run long enough.
hurry() { echo hurry > "/tmp/$1.in"; }
lives() { kill -0 "$(cat "/tmp/$1.pid")" 2> /dev/null; }
dead() { ! lives "$1"; }
# ends NAME SECONDS: it powers itself off, and the client was content.
ends() {
	wait_for "$2" dead "$1" || ! guest_state "$1" || return 1
	says "$1" '^guest ended 0' 1 && cat "/tmp/$1.out"
}
guest_state() {
	for f in qemu console out; do
		echo "$1.$f:"
		tail -n 12 "/tmp/$1.$f"
	done
}
# The guests that are left, so that a test that fails does not wait for them.
kill_guests() {
	for p in /tmp/*.pid; do kill -9 "$(cat "$p")" 2> /dev/null; done
	true
}
