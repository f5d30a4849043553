/*
 * packer: literal bytes on their way to the wire, compressed: by zlibx, lz4 or zstd.
 *
 * What comes out is stream data in pieces of at most 14 bits of length, each with two bytes in
 * front (docs/PROTOCOL.md 6.2). Everything is compressed, whatever its name: as stock rsync has
 * it, of which no method can leave off in the middle of a session.
 */
#ifndef RSYNC_PACKER_H
#define RSYNC_PACKER_H

#include "rsync/mux.h"
#include "rsync/session.h"

/* What is settled on when the peer has these blank-separated names: the one that is wished, or of
 * YES the first of zstd, lz4, zlibx; NO: it has none. */
enum session_compress packer_choose(struct bytes names, enum session_compress wish);

struct packer;
/* ZSTD, LZ4 or ZLIBX; level 0: the method's own default. */
struct packer *packer_new(enum session_compress method, unsigned level);
void packer_free(struct packer *p);
/* Starts a file; its bytes go to `out`. */
void packer_begin(struct packer *p, struct mux_out *out);
/* May keep some of it back. */
void packer_add(struct packer *p, struct bytes data);
/* All that was added is out. */
void packer_flush(struct packer *p);

#endif
