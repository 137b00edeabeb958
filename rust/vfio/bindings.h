/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen is given for gim_vfio_pci: interfaces that the kernel crate does not bind. */
#include <linux/pci.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>
#include "ids.h"
