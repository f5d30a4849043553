/*
 * target: what a fuzz target and those who call it agree on (libFuzzer's interface).
 */
#ifndef FUZZ_TARGET_H
#define FUZZ_TARGET_H

#include <stddef.h>
#include <stdint.h>

/* Must not crash, leak, or keep anything for the next call. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
