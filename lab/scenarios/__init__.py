# SPDX-License-Identifier: Apache-2.0
"""Scenarios: each module has run(lab, report, kernel)."""
