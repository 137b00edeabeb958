// SPDX-License-Identifier: GPL-2.0
/* What Rust cannot reach: inline functions and macros of the kernel's headers. */
#include <asm/fpu/api.h>
#include <linux/capability.h>
#include <linux/crc32.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/ratelimit.h>

#include "helpers.h"

/* /sys/module/gim/version, which other tools read; module! has no key for it. */
MODULE_VERSION(GIM_VERSION);

/**
 * gim_may_log() - rate limit for messages that a guest can cause
 *
 * Return: true if the message may be printed: at most 10 in 5 seconds.
 */
bool gim_may_log(void)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&limit);
}

/**
 * gim_may_log_stream() - rate limit for messages that users of streams can cause
 *
 * Return: true if the message may be printed: at most 10 in 5 seconds.
 */
bool gim_may_log_stream(void)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL, DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&limit);
}

/* drivers/pci/pci.h: set while the PCI core has the device and is not removing it. */
#define GIM_PCI_DEV_ADDED 0

/**
 * gim_pci_disable_sriov_unbind() - disable VFs while the PF's driver is unbound
 * @pf: physical function, its device lock held
 *
 * Removing VFs needs the rescan lock.  The PCI core holds it when it removes the PF, but not when
 * only the driver goes; then it is taken here, in the order that sriov_numvfs_store() takes it.
 */
void gim_pci_disable_sriov_unbind(struct pci_dev *pf)
{
	bool ours = test_bit(GIM_PCI_DEV_ADDED, &pf->priv_flags);

	if (!pci_num_vf(pf))
		return;
	if (ours)
		pci_lock_rescan_remove();
	pci_disable_sriov(pf);
	if (ours)
		pci_unlock_rescan_remove();
}

/**
 * gim_pci_get_vf() - find a virtual function
 * @pf: physical function
 * @n: number of the VF, from 0
 *
 * Return: the VF with a reference held, or NULL if it is not there (any more).
 */
struct pci_dev *gim_pci_get_vf(struct pci_dev *pf, unsigned int n)
{
	struct pci_dev *vf = NULL;

	while ((vf = pci_get_device(pf->vendor, PCI_ANY_ID, vf))) {
		if (vf->is_virtfn && pci_physfn(vf) == pf && pci_iov_vf_id(vf) == n)
			return vf;
	}
	return NULL;
}

/**
 * gim_pci_save_vfs() - remember the configuration of all VFs
 * @pf: physical function
 */
void gim_pci_save_vfs(struct pci_dev *pf)
{
	unsigned int n, count = pci_num_vf(pf);
	struct pci_dev *vf;

	for (n = 0; n < count; n++) {
		vf = gim_pci_get_vf(pf, n);
		if (vf)
			pci_save_state(vf);
		pci_dev_put(vf);
	}
}

/**
 * gim_pci_restore_vfs() - give all VFs the configuration that was remembered last
 * @pf: physical function, whose own was restored
 */
void gim_pci_restore_vfs(struct pci_dev *pf)
{
	unsigned int n, count = pci_num_vf(pf);
	struct pci_dev *vf;

	for (n = 0; n < count; n++) {
		vf = gim_pci_get_vf(pf, n);
		if (vf)
			pci_restore_state(vf);
		pci_dev_put(vf);
	}
}

/**
 * gim_pci_try_reset_with_vfs() - reset the PF and restore it with its VFs
 * @pf: physical function
 *
 * The PCI core restores the PF, SR-IOV included, but not the VFs, whose configuration is lost too.
 *
 * Return: 0, -EAGAIN while somebody else holds the PF's lock, or another errno.
 */
int gim_pci_try_reset_with_vfs(struct pci_dev *pf)
{
	int err;

	gim_pci_save_vfs(pf);
	err = pci_try_reset_function(pf);
	if (err != -EAGAIN)
		gim_pci_restore_vfs(pf);
	return err;
}

/**
 * gim_pci_link_vfs() - have VFs sleep before, and wake after, their PF
 * @pf: physical function
 *
 * The PM core takes them for independent neighbours, but a VF is not there while its PF sleeps.
 */
void gim_pci_link_vfs(struct pci_dev *pf)
{
	unsigned int n, count = pci_num_vf(pf);
	struct pci_dev *vf;

	for (n = 0; n < count; n++) {
		vf = gim_pci_get_vf(pf, n);
		if (vf && !device_link_add(&vf->dev, &pf->dev, DL_FLAG_STATELESS))
			pci_warn(vf, "may wake before its PF\n");
		pci_dev_put(vf);
	}
}

/**
 * gim_pci_silence() - keep a PF and its VFs from writing to memory
 * @pf: physical function
 */
void gim_pci_silence(struct pci_dev *pf)
{
	unsigned int n, count = pci_num_vf(pf);
	struct pci_dev *vf;

	for (n = 0; n < count; n++) {
		vf = gim_pci_get_vf(pf, n);
		if (vf)
			pci_clear_master(vf);
		pci_dev_put(vf);
	}
	pci_clear_master(pf);
}

/**
 * gim_pci_gone() - whether the PCI core knows that a device has left the bus
 * @dev: device
 *
 * Return: true once it was pulled out.
 */
bool gim_pci_gone(struct pci_dev *dev)
{
	return pci_dev_is_disconnected(dev);
}

/**
 * gim_pci_is_enabled() - whether a driver has enabled a function
 * @dev: device
 *
 * Return: true from pci_enable_device() to pci_disable_device().
 */
bool gim_pci_is_enabled(struct pci_dev *dev)
{
	return pci_is_enabled(dev);
}

/**
 * gim_pci_domain() - PCI domain of a device
 * @dev: device
 *
 * Return: its number.
 */
int gim_pci_domain(struct pci_dev *dev)
{
	return pci_domain_nr(dev->bus);
}

/**
 * gim_capable() - whether the caller may do what the administrator may
 *
 * Return: true with CAP_SYS_ADMIN.
 */
bool gim_capable(void)
{
	return capable(CAP_SYS_ADMIN);
}

/**
 * gim_crc32c() - append bytes to a CRC32C
 * @rest: remainder so far, not inverted
 * @bytes: what to append
 * @len: how many bytes
 *
 * Return: the new remainder.
 */
u32 gim_crc32c(u32 rest, const void *bytes, size_t len)
{
	return crc32c(rest, bytes, len);
}

/* Bytes between two chances to be preempted: the FPU is not to be held for long. */
#define GIM_WC_CHUNK 4096

/* Pages of a caller that are pinned at a time. */
#define GIM_WC_PINS 64

static void gim_stream_sse(void *to, const void *from, size_t len)
{
	const void *end = from + len;

	for (; from < end; from += 64, to += 64)
		asm volatile("movntdqa   (%0), %%xmm0\n\t"
			     "movntdqa 16(%0), %%xmm1\n\t"
			     "movntdqa 32(%0), %%xmm2\n\t"
			     "movntdqa 48(%0), %%xmm3\n\t"
			     "movaps %%xmm0,   (%1)\n\t"
			     "movaps %%xmm1, 16(%1)\n\t"
			     "movaps %%xmm2, 32(%1)\n\t"
			     "movaps %%xmm3, 48(%1)\n\t"
			     : : "r"(from), "r"(to) : "memory");
}

/* @len is a multiple of 256. */
static void gim_stream_avx2(void *to, const void *from, size_t len)
{
	const void *end = from + len;

	for (; from < end; from += 256, to += 256)
		asm volatile("vmovntdqa    (%0), %%ymm0\n\t"
			     "vmovntdqa  32(%0), %%ymm1\n\t"
			     "vmovntdqa  64(%0), %%ymm2\n\t"
			     "vmovntdqa  96(%0), %%ymm3\n\t"
			     "vmovntdqa 128(%0), %%ymm4\n\t"
			     "vmovntdqa 160(%0), %%ymm5\n\t"
			     "vmovntdqa 192(%0), %%ymm6\n\t"
			     "vmovntdqa 224(%0), %%ymm7\n\t"
			     "vmovdqa %%ymm0,    (%1)\n\t"
			     "vmovdqa %%ymm1,  32(%1)\n\t"
			     "vmovdqa %%ymm2,  64(%1)\n\t"
			     "vmovdqa %%ymm3,  96(%1)\n\t"
			     "vmovdqa %%ymm4, 128(%1)\n\t"
			     "vmovdqa %%ymm5, 160(%1)\n\t"
			     "vmovdqa %%ymm6, 192(%1)\n\t"
			     "vmovdqa %%ymm7, 224(%1)\n\t"
			     : : "r"(from), "r"(to) : "memory");
	asm volatile("vzeroupper");
}

/* Whether 256 bits may be moved at a time: the CPU can, and the kernel keeps such registers. */
static bool gim_has_avx2(void)
{
	return boot_cpu_has(X86_FEATURE_AVX2) &&
	       cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL);
}

/**
 * gim_read_wc() - read from memory that is mapped write-combining
 * @to: where to, 64-byte aligned
 * @from: device memory, 64-byte aligned
 * @len: bytes, a multiple of 64
 *
 * Ordinary loads of such memory go to the bus one by one; streaming loads fetch lines.  Needs
 * SSE4.1, and a context in which the FPU may be used.
 */
void gim_read_wc(void *to, const void *from, size_t len)
{
	bool wide = gim_has_avx2();

	while (len) {
		size_t n = min_t(size_t, len, GIM_WC_CHUNK);

		kernel_fpu_begin();
		if (wide && n % 256 == 0)
			gim_stream_avx2(to, from, n);
		else
			gim_stream_sse(to, from, n);
		kernel_fpu_end();
		from += n;
		to += n;
		len -= n;
	}
}

/**
 * gim_read_wc_user() - the same, to memory of the calling process
 * @user: where to, at the start of a page
 * @from: device memory, 64-byte aligned
 * @len: bytes, a multiple of the page size
 *
 * The bytes go where they belong at once: no memory of the kernel's is between.
 *
 * Return: how many bytes were read: less than @len where the process has no memory that can be
 * written and pinned.
 */
size_t gim_read_wc_user(unsigned long user, const void *from, size_t len)
{
	struct page *pages[GIM_WC_PINS];
	size_t done = 0;

	while (done < len) {
		size_t want = min_t(size_t, (len - done) / PAGE_SIZE, GIM_WC_PINS);
		int got = pin_user_pages_fast(user + done, want, FOLL_WRITE, pages);
		int i;

		if (got <= 0)
			break;
		for (i = 0; i < got; i++) {
			void *to = kmap_local_page(pages[i]);

			gim_read_wc(to, from + done, PAGE_SIZE);
			kunmap_local(to);
			done += PAGE_SIZE;
		}
		unpin_user_pages_dirty_lock(pages, got, true);
	}
	return done;
}

/**
 * gim_can_read_wc() - whether gim_read_wc() may be used now
 *
 * Return: true if the CPU can and the context allows it.
 */
bool gim_can_read_wc(void)
{
	return boot_cpu_has(X86_FEATURE_XMM4_1) && irq_fpu_usable();
}
