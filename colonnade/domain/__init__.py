# SPDX-License-Identifier: Apache-2.0
"""What users ask for and what is true, as frozen values that check themselves. Pure."""
