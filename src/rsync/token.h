/*
 * token: the content of one file as the receiver rebuilds it: literal bytes, "copy block i of your
 * old copy", and an end mark. Plain, or with the literals compressed (packer.h); matched blocks are
 * not fed into their history.
 */
#ifndef RSYNC_TOKEN_H
#define RSYNC_TOKEN_H

#include "rsync/mux.h"
#include "rsync/session.h"

struct token_writer;

/* Of a session, for all its files. NO: plain; else ZSTD, LZ4 or ZLIBX, level 0: its default. */
struct token_writer *token_writer_new(enum session_compress method, unsigned level);
void token_writer_free(struct token_writer *w);
/* Starts a file; tokens go to `out` as stream data until token_end(). */
void token_begin(struct token_writer *w, struct mux_out *out);
void token_literal(struct token_writer *w, struct bytes data);
void token_block(struct token_writer *w, int32_t block);
void token_end(struct token_writer *w);

#endif
