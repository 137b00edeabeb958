/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * gim - the ioctls of /dev/gim: save, restore and dirty tracking of virtual functions.
 *
 * /dev/gim belongs to root.  GIM_OPEN_VF on it returns a file that gives access to one VF and to
 * nothing else, so it may be handed to a process with fewer rights.  GIM_VF_SAVE and GIM_VF_RESTORE
 * on a VF's file return a stream, which is read or written like a pipe.
 *
 * Every argument starts with argsz, the size of the structure as the caller knows it, in bytes, and
 * flags.  A caller that knows less than the driver is served what it knows; one that knows more is
 * told by the argsz that comes back, and must leave what the driver does not know zero.  A flag that
 * is not known, and a reserved field that is not zero, is EINVAL.
 *
 * Common errors: EFAULT bad pointer; EINVAL argument not allowed; ENODEV the GPU is gone or its
 * driver was unbound; ENOTTY no such ioctl; ESRCH the VF is not enabled any more; EINTR a signal
 * came while waiting: nothing was changed that the same call does not mend.
 *
 * Framebuffer addresses and lengths are bytes, relative to the VF's own first byte.
 */
#ifndef _UAPI_GIM_H
#define _UAPI_GIM_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define GIM_API_VERSION	1

/* Bytes of the unit of transfer and of dirty tracking. */
#define GIM_PAGE_SIZE	4096

#define GIM_IOC_MAGIC	0xB7

/**
 * struct gim_open_vf - which VF; argument of GIM_OPEN_VF
 * @argsz: sizeof(struct gim_open_vf)
 * @flags: 0
 * @domain: PCI domain of the physical function
 * @bus: PCI bus of the physical function
 * @devfn: PCI device and function of the physical function: device << 3 | function
 * @vf: number of the VF, from 0
 *
 * Returns a file descriptor (close-on-exec).  Errors: ENODEV no such GPU, ENOENT the VF is not
 * enabled, EPERM without CAP_SYS_ADMIN.
 */
struct gim_open_vf {
	__u32 argsz;
	__u32 flags;
	__u32 domain;
	__u32 bus;
	__u32 devfn;
	__u32 vf;
};
#define GIM_OPEN_VF	_IOW(GIM_IOC_MAGIC, 0x00, struct gim_open_vf)

/* Life-cycle states, as in sysfs. */
enum gim_vf_state {
	GIM_VF_UNAVAILABLE = 0,
	GIM_VF_AVAILABLE = 1,
	GIM_VF_FULL_ACCESS = 2,
	GIM_VF_ACTIVE = 3,
	GIM_VF_SUSPENDED = 4,
	GIM_VF_RESETTING = 5,
	GIM_VF_QUARANTINED = 6,
};

/* Where the migration of a VF is. */
enum gim_vf_phase {
	GIM_PHASE_IDLE = 0,		/* there is none */
	GIM_PHASE_PRECOPY = 1,		/* it runs, and is being saved */
	GIM_PHASE_HELD = 2,		/* the same, but it is held off the engine for a while */
	GIM_PHASE_STOPPED = 3,		/* it is paused */
	GIM_PHASE_COPYING = 4,		/* it is paused, and is being saved */
	GIM_PHASE_SAVED = 5,		/* it is paused, the end of its stream was read */
	GIM_PHASE_RESTORING = 6,	/* it is being filled */
	GIM_PHASE_RESTORED = 7,		/* it is filled, and waits to be resumed */
	GIM_PHASE_FAILED = 8,		/* it is paused, its stream is void and open */
	GIM_PHASE_BROKEN = 9,		/* it is not paused, its stream is void and open */
};

/* Where the knowledge of changed pages comes from. */
#define GIM_DIRTY_SRC_AUTO	0	/* the device's if it has one, else software */
#define GIM_DIRTY_SRC_HW	1	/* the device marks every write */
#define GIM_DIRTY_SRC_SW	2	/* pages are hashed: a 64-bit collision would be missed */
#define GIM_DIRTY_SRC_EXACT	3	/* pages are compared byte by byte: none is missed */

/**
 * struct gim_vf_info - what a VF is; argument of GIM_VF_QUERY
 * @argsz: in: sizeof(struct gim_vf_info); out: what the driver knows
 * @flags: out: GIM_VF_INFO_*
 * @chip: out: PCI device id of the VF
 * @state: out: enum gim_vf_state
 * @fb_size: out: bytes of framebuffer
 * @context_size: out: bytes of the context image
 * @dirty_sources: out: a bit per GIM_DIRTY_SRC_* that can be had
 * @version: out: GIM_API_VERSION
 * @phase: out: enum gim_vf_phase
 */
struct gim_vf_info {
	__u32 argsz;
	__u32 flags;
	__u32 chip;
	__u32 state;
	__u64 fb_size;
	__u32 context_size;
	__u32 dirty_sources;
	__u32 version;
	__u32 phase;
};
#define GIM_VF_INFO_LOADED	(1 << 0)	/* a guest driver is loaded */
#define GIM_VF_INFO_PAUSED	(1 << 1)	/* held by GIM_VF_PAUSE or a restore */
#define GIM_VF_QUERY	_IOWR(GIM_IOC_MAGIC, 0x10, struct gim_vf_info)

/**
 * struct gim_vf_pause - argument of GIM_VF_PAUSE
 * @argsz: sizeof(struct gim_vf_pause)
 * @flags: GIM_PAUSE_KEEP: it stays paused when the file is closed; else it is resumed then
 * @timeout_ms: how long to wait for the VF to leave the engine, at most 60000; 0: 5000 ms
 * @reserved: 0
 *
 * Takes the VF off the engine; its state is saved.  What its guest orders meanwhile (doorbells,
 * messages) is kept.  Errors: EBUSY its guest has full access or the VF is being reset, ETIMEDOUT
 * it did not leave the engine in time (it goes on running), EPERM it is quarantined.
 */
struct gim_vf_pause {
	__u32 argsz;
	__u32 flags;
	__u32 timeout_ms;
	__u32 reserved;
};
#define GIM_PAUSE_KEEP	(1 << 0)
#define GIM_VF_PAUSE	_IOW(GIM_IOC_MAGIC, 0x11, struct gim_vf_pause)

/*
 * Lets a paused or held VF run again.  After a restore this is what starts it; interrupts that may
 * have been lost are raised.  A stream that saves the VF and is not at its end is void then.
 * Errors: EINVAL it is not paused, EBUSY it is being restored.
 */
#define GIM_VF_RESUME	_IO(GIM_IOC_MAGIC, 0x12)

/**
 * struct gim_vf_save - argument of GIM_VF_SAVE
 * @argsz: sizeof(struct gim_vf_save)
 * @flags: GIM_SAVE_*
 * @source: GIM_DIRTY_SRC_*; only looked at with GIM_SAVE_PRECOPY
 * @reserved: 0
 * @downtime_ms: how long the VF may be paused, for the advice of GIM_STREAM_QUERY; 0: 300 ms
 * @brownout_ms: how long it may be held before that; 0: 800 ms
 * @rounds: how many rounds there may be before that; 0: 30
 * @reserved2: 0
 *
 * Returns the stream (close-on-exec), which is read.  Without GIM_SAVE_PRECOPY the VF must be
 * paused.  With it, pages are streamed while the VF runs, round after round; read() fails with
 * ENOMSG where nothing is dirty at the moment, as far as is known.  GIM_STREAM_QUERY advises when
 * to hold and when to pause the VF; the caller decides.  Once the VF is paused, read() delivers
 * what is left, and then 0.  Closing the stream early forgets it and changes nothing of the VF.  A
 * VF that is resumed before the stream is at its end spoils it: read() fails with EIO.
 *
 * Errors: EBUSY there is a stream or dirty tracking already, or the VF is in no state to be saved;
 * EOPNOTSUPP that source cannot be had.
 */
struct gim_vf_save {
	__u32 argsz;
	__u32 flags;
	__u32 source;
	__u32 reserved;
	__u32 downtime_ms;
	__u32 brownout_ms;
	__u32 rounds;
	__u32 reserved2;
};
#define GIM_SAVE_PRECOPY	(1 << 0)
#define GIM_SAVE_NONBLOCK	(1 << 1)	/* O_NONBLOCK: EAGAIN instead of waiting for the last look */
#define GIM_SAVE_NO_HOLD	(1 << 2)	/* the VF will not be held before it is paused */
#define GIM_VF_SAVE	_IOW(GIM_IOC_MAGIC, 0x13, struct gim_vf_save)

/**
 * struct gim_vf_restore - argument of GIM_VF_RESTORE
 * @argsz: sizeof(struct gim_vf_restore)
 * @flags: 0
 * @reserved: 0
 *
 * Returns the stream (close-on-exec), to which a saved stream is written.  The VF must be
 * available: enabled, clean, no guest's.  write() fails with EINVAL for a stream that does not fit
 * this VF, before anything of it changes; with EBADMSG for a broken one; the log says why.  After
 * the end of the stream the VF is paused, until GIM_VF_RESUME.  A stream that is closed before its
 * end, or was refused, leaves the VF to be reset and cleaned.
 *
 * Errors: EBUSY the VF is not available.
 */
struct gim_vf_restore {
	__u32 argsz;
	__u32 flags;
	__u64 reserved;
};
#define GIM_VF_RESTORE	_IOW(GIM_IOC_MAGIC, 0x14, struct gim_vf_restore)

/**
 * struct gim_dirty_start - argument of GIM_VF_DIRTY_START
 * @argsz: sizeof(struct gim_dirty_start)
 * @flags: 0
 * @source: GIM_DIRTY_SRC_*
 * @reserved: 0
 *
 * From now on changed pages are known; at first none is.  Errors: EBUSY it is tracked already,
 * EOPNOTSUPP that source cannot be had.
 */
struct gim_dirty_start {
	__u32 argsz;
	__u32 flags;
	__u32 source;
	__u32 reserved;
};
#define GIM_VF_DIRTY_START	_IOW(GIM_IOC_MAGIC, 0x15, struct gim_dirty_start)

/**
 * struct gim_dirty_bitmap - argument of GIM_VF_DIRTY_GET
 * @argsz: sizeof(struct gim_dirty_bitmap)
 * @flags: GIM_DIRTY_PEEK: the pages stay dirty
 * @offset: first byte, multiple of @granularity
 * @length: bytes, multiple of @granularity, not 0
 * @granularity: bytes of framebuffer per bit: a power of two, 4 KiB to 2 MiB
 * @bitmap: address of the bitmap: 64-bit words of the caller's byte order, as many as the range
 *          needs; bit 0 of the first is the range's first
 * @dirty: out: bits that are set
 *
 * Tells which pages have changed since the last call, and forgets it (unless peeking).  A bit of a
 * coarse granularity is set if any of its pages has changed.  With a paused VF the answer is
 * complete; while it runs, what it writes during the call may show in this call or in the next.
 * Errors: EINVAL as said above, or nothing is being tracked.
 */
struct gim_dirty_bitmap {
	__u32 argsz;
	__u32 flags;
	__u64 offset;
	__u64 length;
	__u64 granularity;
	__u64 bitmap;
	__u64 dirty;
};
#define GIM_DIRTY_PEEK		(1 << 0)
#define GIM_VF_DIRTY_GET	_IOWR(GIM_IOC_MAGIC, 0x16, struct gim_dirty_bitmap)

/* Ends tracking.  Errors: EINVAL nothing is being tracked. */
#define GIM_VF_DIRTY_STOP	_IO(GIM_IOC_MAGIC, 0x17)

/**
 * struct gim_fb_io - argument of GIM_VF_FB_READ and GIM_VF_FB_WRITE
 * @argsz: sizeof(struct gim_fb_io)
 * @flags: 0
 * @offset: first byte, multiple of 4
 * @length: bytes, multiple of 4, at most 64 MiB
 * @data: address of the caller's buffer
 *
 * Reads or writes framebuffer of a paused VF.  Reading is fastest with offset, length and data that
 * are multiples of 4096.  Errors: EINVAL outside or unaligned, EBUSY not
 * paused.
 */
struct gim_fb_io {
	__u32 argsz;
	__u32 flags;
	__u64 offset;
	__u64 length;
	__u64 data;
};
#define GIM_VF_FB_READ	_IOW(GIM_IOC_MAGIC, 0x18, struct gim_fb_io)
#define GIM_VF_FB_WRITE	_IOW(GIM_IOC_MAGIC, 0x19, struct gim_fb_io)

/*
 * Raises an interrupt in the guest, which then looks at all that may have happened.  One too many
 * is harmless.  Errors: EBUSY no guest driver is loaded.
 */
#define GIM_VF_RAISE_IRQ	_IO(GIM_IOC_MAGIC, 0x1A)

/*
 * Resets the VF and cleans its framebuffer; a guest that still uses it is told.  A paused VF is
 * not paused any more.  So ends the source of a migration.
 */
#define GIM_VF_RESET	_IO(GIM_IOC_MAGIC, 0x1B)

/**
 * struct gim_vf_hold - argument of GIM_VF_HOLD
 * @argsz: sizeof(struct gim_vf_hold)
 * @flags: GIM_HOLD_*
 * @limit_ms: how long at most, from now on: 1 to 1500; 0: 800
 * @reserved: 0
 *
 * Takes a VF whose stream (GIM_SAVE_PRECOPY) is open off the engine while its vCPUs run: to its
 * guest it is a long wait for the next slice.  It ends by itself when the time is over, with
 * GIM_VF_RESUME, and when the stream is closed; GIM_VF_PAUSE turns it into the pause, between which
 * the VF does not run.  Returns when the VF's state is saved.
 *
 * With GIM_HOLD_QUIET the caller promises that no CPU (and no other device) has the VF's
 * framebuffer mapped for writing, from before the call until the hold ends or the VF is paused,
 * except for what GIM_VF_TOUCHED tells before the VF is paused.  Then, where changes
 * are found by software, what is looked at during the hold is final and need not be looked at during
 * the pause.  Without the promise all is looked at again once the VF is paused.
 *
 * Errors: EBUSY there is no such stream, the VF is held or paused already, its guest has full
 * access or it is being reset; ETIMEDOUT it did not leave the engine in time (it goes on running).
 */
struct gim_vf_hold {
	__u32 argsz;
	__u32 flags;
	__u32 limit_ms;
	__u32 reserved;
};
#define GIM_HOLD_QUIET	(1 << 0)
#define GIM_VF_HOLD	_IOW(GIM_IOC_MAGIC, 0x1C, struct gim_vf_hold)

/**
 * struct gim_vf_touched - argument of GIM_VF_TOUCHED
 * @argsz: sizeof(struct gim_vf_touched)
 * @flags: 0
 * @offset: first byte, multiple of 4096
 * @length: bytes, multiple of 4096, not 0
 *
 * This part of the framebuffer of a held VF is written by a CPU although GIM_HOLD_QUIET promised that
 * it would not be: it is read again when the VF is paused, so this must be said before.  Errors: EINVAL as said above, or outside; EBUSY the VF is not held.
 */
struct gim_vf_touched {
	__u32 argsz;
	__u32 flags;
	__u64 offset;
	__u64 length;
};
#define GIM_VF_TOUCHED	_IOW(GIM_IOC_MAGIC, 0x1D, struct gim_vf_touched)

/* What the driver advises next, in view of the limits that GIM_VF_SAVE was given. */
#define GIM_NEXT_READ		0	/* nothing is known yet: read on */
#define GIM_NEXT_ROUND		1	/* another round is worth it: read on */
#define GIM_NEXT_HOLD		2	/* hold the VF, read until ENOMSG, then pause it */
#define GIM_NEXT_PAUSE		3	/* pause it at once */
#define GIM_NEXT_GIVE_UP	4	/* no round helps: the limits cannot be kept */

/**
 * struct gim_stream_info - how far a stream is; argument of GIM_STREAM_QUERY
 * @argsz: in: sizeof(struct gim_stream_info); out: what the driver knows
 * @flags: out: GIM_STREAM_*
 * @round: out: number of the round, from 0
 * @reserved: out: 0
 * @initial_bytes: out: bytes of the first round that were not read yet
 * @dirty_bytes: out: bytes of framebuffer that are known to be dirty and were not read yet
 * @state_bytes: out: bytes that follow the last page, at most
 * @passed_bytes: out: bytes read (or written) so far
 * @zero_pages: out: pages that were zero and cost nothing
 * @left_bytes: out: bytes that were still to be sent when the last round (with software: the last
 *              sweep of looks) ended
 * @brownout_ns: out: how long a hold would have to last then
 * @blackout_ns: out: how long the pause after such a hold would last
 * @at_once_ns: out: how long a pause without a hold would last
 * @rate: out: bytes per second that are read, while there is something to read
 * @next: out: GIM_NEXT_*
 * @reserved2: out: 0
 *
 * The last six are of a stream that saves a VF while it runs; they count on what was measured so far.
 */
struct gim_stream_info {
	__u32 argsz;
	__u32 flags;
	__u32 round;
	__u32 reserved;
	__u64 initial_bytes;
	__u64 dirty_bytes;
	__u64 state_bytes;
	__u64 passed_bytes;
	__u64 zero_pages;
	__u64 left_bytes;
	__u64 brownout_ns;
	__u64 blackout_ns;
	__u64 at_once_ns;
	__u64 rate;
	__u32 next;
	__u32 reserved2;
};
#define GIM_STREAM_PRECOPY	(1 << 0)	/* the VF still runs */
#define GIM_STREAM_COMPLETE	(1 << 1)	/* the end was read or written */
#define GIM_STREAM_QUERY	_IOWR(GIM_IOC_MAGIC, 0x20, struct gim_stream_info)

#endif /* _UAPI_GIM_H */
