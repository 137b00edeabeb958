#!/bin/sh
# bench: vm=tonga --icount --shift 0 --timeout 3600 --gpu vfs=2,vram_mb=2080,large_bar=on,dirty_tracking=on
# SPDX-License-Identifier: GPL-2.0
# What a migration costs: a VF with 1 GiB of framebuffer, of which 1 % is rewritten every second,
# over a link of 1 Gbit/s.  The CPU of this VM does an instruction per ns.
# shellcheck source=tests/vm/lib.sh
. tests/vm/lib.sh
# shellcheck source=tests/bench/lib.sh
. tests/bench/lib.sh

GIB=$((1 << 30))
LINK=119 # MiB per second
die() {
	echo "$*"
	tail -n 5 /tmp/report /tmp/recv /tmp/client /tmp/follow 2> /dev/null
	dmesg | tail -n 5
	exit 1
}
clean() {
	wait_for 60 is_state vf1 available || die "VF0 is not clean"
	wait_for 60 is_state vf2 available || die "VF1 is not clean"
}
# client OPTIONS...: VF0's client works on a framebuffer without a zero page, but for its own structures.
client() {
	vf-client --pci "$(vf 0)" chain --steps 100000000 --prefill "$@" > /tmp/client 2>&1 &
	client=$!
	wait_for 60 grep -qs ^working /tmp/client || die "the client does not work"
	sleep 2
}
no_client() {
	kill -KILL $client 2> /dev/null
	wait $client 2> /dev/null
}

# What is lost while changed pages are followed and the stream is read: the client lets the engine do as
# much as it can, and so dirties all of the framebuffer again and again.
tracking_loss() {
	client --depth 16 --per-job 16
	window 3 /tmp/calm.json
	for source in hw sw; do
		migrate-test --gpu "$PF" --figure follow-$source > /tmp/follow 2>&1 &
		follow=$!
		for phase in copying looking; do
			wait_for 60 grep -q $phase /tmp/follow || die "no $phase"
			window 3 /tmp/$source-$phase.json
			kill -0 $follow || die "the stream has ended"
		done
		kill $follow
		wait $follow
	done
	no_client
	clean
	python3 - <<'PY' > /tmp/figures || die "no figures"
import json
def rate(name):
    w = json.load(open(f"/tmp/{name}.json"))
    return w["functions"][1]["bytes"] / (w["now_ns"] - w["since_ns"])
calm = rate("calm")
print(f"# calm: {calm:.4f} bytes per ns")
for source in ("hw", "sw"):
    losses = [1 - rate(f"{source}-{phase}") / calm for phase in ("copying", "looking")]
    print(f"# {source}: loses {losses[0]:.6f} of it in the first round, {losses[1]:.6f} later")
    print(f"tracking_loss_{source} {max(0, *losses):.6f} ratio")
PY
	grep '^#' /tmp/figures
	grep -v '^#' /tmp/figures | figures
}

# move NAME OPTIONS...: VF0 becomes VF1 while its client works; the report is /tmp/NAME.
move() {
	name=$1
	shift
	client --rate 10737418
	gimctl --json migrate recv --vf 1 --keep-paused --on-restored "referee get now_ns > /tmp/restored" 127.0.0.1:7000 \
		> /tmp/recv 2>&1 &
	recv=$!
	wait_for 10 sh -c "grep -q :1B58 /proc/net/tcp" || die "nobody receives"
	gimctl --json migrate send --vf 0 --bandwidth $LINK "$@" 127.0.0.1:7000 2> /tmp/report || die "$name fails"
	wait $recv || die "$name does not arrive"
	stall=$(($(cat /tmp/restored) - $(referee get last_run_end_ns --vf 0)))
	sed "s/^{/{\"stall_ns\":$stall,/" /tmp/report > "/tmp/$name"
	echo "# $name: $(cat "/tmp/$name")"
	no_client
	gimctl reset --vf 1
	gimctl resume --vf 1
	clean
}

# Nothing may wait for a disk while it is measured: time would go on.
mkdir /tmp/bin
cp /gim/build/bin/gimctl /gim/build/bin/referee /gim/build/bin/vf-client /gim/build/bin/migrate-test /tmp/bin || exit 1
PATH=/tmp/bin:$PATH

load guard=0 || exit 1
numvfs 2 || exit 1
clean
migrate-test --gpu "$PF" --figure copy > /tmp/figures || die "no copies"
figures < /tmp/figures
gimctl reset --vf 0
clean
bind 0
gimctl --json migrate save --vf 0 --dirty none /tmp/empty 2> /tmp/report || die "an empty VF is not saved"
# The head of a stream tells the framebuffer's size.
[ "$(od -An -t u8 -j 24 -N 8 /tmp/empty)" -eq $GIB ] || die "the framebuffer has another size"
figure migrate_zero_ratio "$(awk -v b="$(wc -c < /tmp/empty)" -v g=$GIB 'BEGIN { printf "%.7f", b / g }')" ratio
tracking_loss

move hw --dirty hw
# The client writes its ring and page table by the CPU, and nothing else.
move sw --dirty sw --quiet --touches 2097152:327680 --brownout-limit 1000
# A guest stands still in its blackout; the client would call this one a hang.
move none --dirty none --on-pause "kill -STOP \$(pidof vf-client)"
python3 - <<'PY' > /tmp/figures || die "no figures"
import json
none, hw, sw = (json.load(open(f"/tmp/{n}")) for n in ("none", "hw", "sw"))
pages = (1 << 18) - none["zero_pages"]
print(f"stream_overhead {none['bytes'] / (pages * 4096) - 1:.6f} ratio")
# From the last run until the target is filled, by the referee; less the hold, in which the guest ran.
blackout = lambda r: r["stall_ns"] / 1e6 - r["brownout_ms"]
print(f"downtime_ms_copy {blackout(none):.1f} ms")
for name, r in (("hw", hw), ("sw", sw)):
    print(f"downtime_gain_{name} {blackout(none) / blackout(r):.1f} ratio")
    print(f"downtime_ms_{name} {blackout(r):.2f} ms")
    print(f"gpu_stall_ms_{name} {r['stall_ns'] / 1e6:.1f} ms")
    print(f"migrate_rounds_{name} {r['rounds']} rounds")
PY
figures < /tmp/figures
no_violations
