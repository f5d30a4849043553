/*
 * basis: another file of the tree that one is built from at the target, instead of being sent.
 *
 * The target is believed to have it as it is here. What is compared, block by block, is the two
 * files at the source; that the target has the same is claimed, and found out there by the digest
 * of the whole (session_answer_claim). So nothing that is wrong about a basis does harm, and it is
 * not looked at again when it has been read: if it moved, that costs bytes.
 */
#ifndef WORKER_BASIS_H
#define WORKER_BASIS_H

#include "rsync/session.h"
#include "worker/cargo.h"

struct basis {
	int fd; /* -1: none */
	uint64_t size;
	char *buffer;
};

void basis_init(struct basis *b);
void basis_done(struct basis *b);
/* Opens the first of those named for the part that begins as the file `fd` does, and is what it was
 * when the target confirmed it; beneath the root, without following links (I5). False: there is
 * none. `ret_name`: relative to the part's directory, borrowed from the batch. */
bool basis_find(struct basis *b, const struct cargo *c, const struct part *part, int fd,
                struct bytes *ret_name);
/* For the next file. */
void basis_leave(struct basis *b);
/* Answers with a slice of the file that begins at `at`, a multiple of SESSION_CLAIM_BLOCK: as
 * blocks of the basis where they are equal. */
void basis_answer(struct basis *b, struct session *s, struct bytes slice, uint64_t at);

#endif
