// SPDX-License-Identifier: GPL-2.0
// Linked to the kernel's VFIO selftests, whose sources stay as they are: on a kernel without iommufd
// the tests that name no IOMMU interface take the one there is.
#include <unistd.h>

#include <libvfio.h>

__attribute__((constructor)) static void gim_default_iommu_mode(void)
{
	if (access("/dev/iommu", F_OK))
		default_iommu_mode = MODE_VFIO_TYPE1V2_IOMMU;
}
