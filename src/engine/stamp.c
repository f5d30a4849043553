/*
 * stamp: the stamp files that ride behind the marks of a flight, and what their answers tell.
 */
#include "base/log.h"
#include "base/mem.h"
#include "engine/internal.h"

#define STAMP_PATH_BYTES 192

static void stamp_path(struct engine *e, uint64_t generation, struct buf *out)
{
	buf_init(out, STAMP_PATH_BYTES);
	buf_printf(out, ".lockstep/%s.%u", e->job, (unsigned)(generation & 1));
}

void stamp_add(struct wire_item *item, struct buf *path, struct engine *e, uint64_t generation,
               bool serve)
{
	stamp_path(e, generation, path);
	*item = (struct wire_item){buf_bytes(path),
	                           (uint16_t)(WIRE_ITEM_STAMP | (serve ? WIRE_ITEM_SERVE : 0)),
	                           (int64_t)generation};
}

void stamp_result(struct engine *e, struct flight *f, size_t item, const struct wire_result_item *r,
                  int64_t now_ns)
{
	bool serve = f->serve && !(f->proof && item == f->marks);

	if (serve && r->result == WIRE_ACKED) {
		f->served = true;
	} else if (serve && (r->result == WIRE_FAILED || r->result == WIRE_DISPROVED)) {
		if (r->trouble == TROUBLE_NONE && !e->stamp_refused) {
			e->stamp_refused = true;
			engine_say(e, LOG_WARN, "stamp.refused",
			           "the target does not take stamp files (.lockstep/); a replaced "
			           "target is only noticed by the compare after a gap");
		}
	} else if (!serve && r->result == WIRE_PROVEN) {
		f->proved = true;
		trust_proven(e, f, now_ns);
	} else if (!serve && r->result == WIRE_DISPROVED) {
		trust_disproved(e, f, now_ns);
	}
	/* The next generation counts on top of the proven one only, in whatever order they come. */
	if (f->served && (f->proof == 0 || f->proved)) {
		f->served = false;
		trust_served(e, f, now_ns);
	}
}
