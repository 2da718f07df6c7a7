# SPDX-License-Identifier: GPL-3.0-or-later
"""The option by which every module for pools of vGPUs chooses parents."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  parents:
    description: What the parents must be, all of it; without this option, every parent that has the type is used.
    type: dict
    suboptions:
      names: {description: "libvirt's names of parents, such as V(pci_0000_3d_00_0).", type: list, elements: str}
      addresses:
        description:
          - Addresses of parents, as O(hostdev.nodedev.mdev#module:parent) takes them, beside O(parents.names). Both
            take subchannels by their CCW devices, too.
        type: list
        elements: str
      driver: {description: The driver that the parent is bound to., type: str}
      vendor: {description: "The PCI vendor, by its id (V(0x10de)) or its name in pci.ids.", type: str}
      product: {description: "The PCI product, by its id or its name in pci.ids.", type: str}
      numa_node: {description: The NUMA node., type: int}
      physical_function:
        description:
          - SR-IOV cards of one of which the parent is a virtual function, by libvirt's names or by addresses, as
            O(hostdev.nodedev.mdev#module:parent) takes them. It goes together with O(parents.names) and
            O(parents.addresses), of which a parent must be one too where they are given.
          - One that has no virtual function among the parents of this host is an error when the pool grows.
        type: list
        elements: str
      iommu_group:
        description: The number of the IOMMU group that the parent is in. The kernel may number anew at every boot.
        type: int
      interface:
        description:
          - A network interface, as the kernel calls it now, of the parent or of its physical function. One that is in
            another network namespace is not seen.
        type: str
  placement:
    description:
      - Where new instances go. V(spread) takes the card with the fewest instances of the pool, V(pack) fills one card
        before the next. Instances that exist stay where they are. A new pool is spread.
    type: str
    choices: [spread, pack]
"""
