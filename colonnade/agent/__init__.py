# SPDX-License-Identifier: Apache-2.0
"""What runs on an amphora: applies bundles to haproxy and reports."""
