/*
 * unpack: a receiver of a few lines, which makes content of compressed tokens.
 *
 * One for all files of a session, as a receiver has it. What is malformed fails the test.
 */
#ifndef TEST_UNPACK_H
#define TEST_UNPACK_H

#include "base/bytes.h"
#include "rsync/session.h"

struct unpack;
struct unpack *unpack_new(enum session_compress method);
void unpack_free(struct unpack *u);
/* Exactly one file's tokens; `block` is the size of the blocks of `old`. Appends to `out`. */
void unpack_file(struct unpack *u, struct bytes tokens, struct bytes old, size_t block,
                 struct buf *out);

#endif
