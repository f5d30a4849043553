/*
 * path: relative paths as validated bytes, and the ways to show them.
 *
 * Inside the program a path is relative to its tree's root and has no empty, "." or ".." component
 * and no "/" at either end; "" is the root itself. At most 4095 bytes, 255 a component.
 */
#ifndef BASE_PATH_H
#define BASE_PATH_H

#include "base/bytes.h"

#define PATH_BYTES_MAX 4095
#define NAME_BYTES_MAX 255

bool path_valid(struct bytes path);
bool name_valid(struct bytes name);
/* dir + "/" + name into `out` (replacing its content); dir may be "". */
void path_join(struct buf *out, struct bytes dir, struct bytes name);
struct bytes path_parent(struct bytes path); /* of a top-level name and of "": "" */
struct bytes path_name(struct bytes path);   /* last component; of "": "" */
/* True when `path` lies strictly below `dir`; everything but "" lies below "". */
bool path_below(struct bytes path, struct bytes dir);
/* Component-wise order: a directory directly before everything below it. */
int path_compare(struct bytes a, struct bytes b);
/* Next component from *rest (advanced behind it); empty at the end. */
struct bytes path_next(struct bytes *rest);

/* For people and logs: printable UTF-8 stays, the rest (controls, DEL, C1, bidi, backslash, invalid
 * UTF-8) becomes \xNN; the root shows as ".". Appends to `out`; longer than 512 shown bytes: cut,
 * with "…" behind. */
void path_quote(struct buf *out, struct bytes path);
/* The same in one of a few rotating thread-local buffers; for err_set() arguments. */
const char *path_show(struct bytes path);
/* For JSON and feeds: UTF-8 with invalid bytes, controls and "%" as %XX; and back.
 * path_from_percent returns -EINVAL for a malformed escape. */
void path_percent(struct buf *out, struct bytes path);
int path_from_percent(struct buf *out, struct bytes text);

#endif
