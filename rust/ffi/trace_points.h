/* SPDX-License-Identifier: GPL-2.0 */
/* Tracepoints: one for each kind of decision. Rust calls them through trace.rs. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM gim

#if !defined(GIM_TRACE_POINTS_H) || defined(TRACE_HEADER_MULTI_READ)
#define GIM_TRACE_POINTS_H

#include <linux/tracepoint.h>

/* Functions are numbered as FCN_ID does: 0x00 is the PF, 0x80 | n is VFn, 0xff is nobody. */
TRACE_EVENT(gim_switch,
	TP_PROTO(u32 gpu, u32 from, u32 to, u64 took_ns),
	TP_ARGS(gpu, from, to, took_ns),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u32, from)
		__field(u32, to)
		__field(u64, took_ns)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->from = from;
		__entry->to = to;
		__entry->took_ns = took_ns;
	),
	TP_printk("gpu=%04x from=%#x to=%#x took_ns=%llu",
		  __entry->gpu, __entry->from, __entry->to, __entry->took_ns)
);

TRACE_EVENT(gim_state,
	TP_PROTO(u32 gpu, u32 vf, u32 from, u32 to),
	TP_ARGS(gpu, vf, from, to),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u32, vf)
		__field(u32, from)
		__field(u32, to)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->vf = vf;
		__entry->from = from;
		__entry->to = to;
	),
	TP_printk("gpu=%04x vf=%u from=%u to=%u",
		  __entry->gpu, __entry->vf, __entry->from, __entry->to)
);

/* dir: 0 VF to PF, 1 PF to VF, 2 refused or ignored. */
TRACE_EVENT(gim_mailbox,
	TP_PROTO(u32 gpu, u32 vf, u32 dir, u32 code, u32 data),
	TP_ARGS(gpu, vf, dir, code, data),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u32, vf)
		__field(u32, dir)
		__field(u32, code)
		__field(u32, data)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->vf = vf;
		__entry->dir = dir;
		__entry->code = code;
		__entry->data = data;
	),
	TP_printk("gpu=%04x vf=%u dir=%u code=%u data=%#x",
		  __entry->gpu, __entry->vf, __entry->dir, __entry->code, __entry->data)
);

TRACE_EVENT(gim_reset,
	TP_PROTO(u32 gpu, u32 vf, u32 reason),
	TP_ARGS(gpu, vf, reason),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u32, vf)
		__field(u32, reason)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->vf = vf;
		__entry->reason = reason;
	),
	TP_printk("gpu=%04x vf=%u reason=%u", __entry->gpu, __entry->vf, __entry->reason)
);

TRACE_EVENT(gim_guard,
	TP_PROTO(u32 gpu, u32 vf, u32 limit, u32 act),
	TP_ARGS(gpu, vf, limit, act),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u32, vf)
		__field(u32, limit)
		__field(u32, act)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->vf = vf;
		__entry->limit = limit;
		__entry->act = act;
	),
	TP_printk("gpu=%04x vf=%u limit=%u act=%u",
		  __entry->gpu, __entry->vf, __entry->limit, __entry->act)
);

/* status: the status code, or 0x100 for a time-out. */
TRACE_EVENT(gim_command_failed,
	TP_PROTO(u32 gpu, u32 command, u32 fcn, u32 status),
	TP_ARGS(gpu, command, fcn, status),
	TP_STRUCT__entry(
		__field(u32, gpu)
		__field(u32, command)
		__field(u32, fcn)
		__field(u32, status)
	),
	TP_fast_assign(
		__entry->gpu = gpu;
		__entry->command = command;
		__entry->fcn = fcn;
		__entry->status = status;
	),
	TP_printk("gpu=%04x command=%u fcn=%#x status=%#x",
		  __entry->gpu, __entry->command, __entry->fcn, __entry->status)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace_points
#include <trace/define_trace.h>
