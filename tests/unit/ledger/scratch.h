/*
 * scratch: temporary directories of a test, and copies of them. A state directory holds only files.
 */
#ifndef LEDGER_TEST_SCRATCH_H
#define LEDGER_TEST_SCRATCH_H

#include "base/bytes.h"

char *scratch_make(void);       /* beneath $TMPDIR or /tmp; the caller removes it */
void scratch_remove(char *dir); /* with all files in it; frees the name */
void scratch_empty(const char *dir);
void scratch_copy(const char *from, const char *to); /* `to` exists; its files go first */

void scratch_read(const char *dir, const char *name, struct buf *ret);
void scratch_write(const char *dir, const char *name, struct bytes text);

#endif
