// SPDX-License-Identifier: GPL-2.0
/* What Rust cannot reach: inline functions and macros of the kernel's headers. */
#include <asm/fpu/api.h>
#include <linux/capability.h>
#include <linux/crc32.h>
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

/**
 * gim_read_wc() - read from memory that is mapped write-combining
 * @to: where to, 16-byte aligned
 * @from: device memory, 16-byte aligned
 * @len: bytes, a multiple of 64
 *
 * Ordinary loads of such memory go to the bus one by one; streaming loads fetch lines.  Needs
 * SSE4.1, and a context in which the FPU may be used.
 */
void gim_read_wc(void *to, const void *from, size_t len)
{
	while (len) {
		size_t n = min_t(size_t, len, GIM_WC_CHUNK);
		const void *end = from + n;

		kernel_fpu_begin();
		while (from < end) {
			asm volatile("movntdqa   (%0), %%xmm0\n\t"
				     "movntdqa 16(%0), %%xmm1\n\t"
				     "movntdqa 32(%0), %%xmm2\n\t"
				     "movntdqa 48(%0), %%xmm3\n\t"
				     "movaps %%xmm0,   (%1)\n\t"
				     "movaps %%xmm1, 16(%1)\n\t"
				     "movaps %%xmm2, 32(%1)\n\t"
				     "movaps %%xmm3, 48(%1)\n\t"
				     : : "r"(from), "r"(to) : "memory");
			from += 64;
			to += 64;
		}
		kernel_fpu_end();
		len -= n;
	}
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
