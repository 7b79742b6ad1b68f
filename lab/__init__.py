# SPDX-License-Identifier: Apache-2.0
"""The lab boots real guests in QEMU and measures them with tools that are not pagepact's."""
