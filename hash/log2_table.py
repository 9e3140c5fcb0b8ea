#!/usr/bin/env python3
"""Writes hash/log2_table.h: T[k] = floor(2^40 * log2(1 + k/4096)), k = 0..4096.

libm cannot give these integers exactly, so they are computed with 60 decimal digits. The unit test
verifies the SHA-256 of the words; run this only when the file is lost: hash/log2_table.py > hash/log2_table.h
"""
from decimal import Decimal, getcontext

getcontext().prec = 60
LN2 = Decimal(2).ln()


def entry(k):
    return int((Decimal(4096 + k) / 4096).ln() / LN2 * (1 << 40)) if k < 4096 else 1 << 40


print("""/* Written by log2_table.py: floor(2^40 * log2(1 + k/4096)) for k = 0..4096. */
#ifndef LP_HASH_LOG2_TABLE_H
#define LP_HASH_LOG2_TABLE_H

#include <stdint.h>

/* clang-format off */
static const uint64_t log2_table[4097] = {""")
for row in range(0, 4097, 6):
    print("    " + " ".join(f"{entry(k)}u," for k in range(row, min(row + 6, 4097))))
print("""};
/* clang-format on */

#endif""")
