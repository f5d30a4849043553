#include "worker/verdict.h"

#include <errno.h>

#include "base/mem.h"
#include "base/path.h"
#include "worker/walk.h"

/* What says that a stamp's content is another. */
#define STAMP_DIFFERS (SESSION_ITEM_SIZE | SESSION_ITEM_TIME | SESSION_ITEM_NEW)

#define ITEM_DIFFERS                                                                               \
	(SESSION_ITEM_CHANGE | SESSION_ITEM_SIZE | SESSION_ITEM_TIME | SESSION_ITEM_PERMS |        \
	 SESSION_ITEM_OWNER | SESSION_ITEM_GROUP | SESSION_ITEM_ACL | SESSION_ITEM_XATTR |         \
	 SESSION_ITEM_NEW | SESSION_ITEM_LOCAL | SESSION_ITEM_TRANSFER)

/* Of the receiver's two halves one writes what was sent unasked and confirms it; the other looks at
 * what is there, and asks for it or confirms that. So unless it was asked for, one confirmation may
 * be that of an equal size and time, with our copy still to be written: over what has been sent in
 * another session by then, if this one were taken for the answer (I6, I13). */
static bool is_written(const struct part *part)
{
	return part->successes >= part->copies + !part->asked;
}

/* A stamp that is not written: its answer is about the target, and opens deletions (I8). */
static bool is_proof(const struct part *part)
{
	return part->kind == PART_STAMP && !part->serve;
}

static void confirm(struct cargo *c, struct part *part)
{
	if (part->unasked && !is_written(part))
		part->hashed = false;
	if (is_proof(part))
		cargo_settle(c, part, WIRE_PROVEN);
	else if (part->incomplete)
		cargo_settle(c, part, WIRE_FAILED);
	else
		cargo_settle(c, part, part->moved ? WIRE_MOVED : WIRE_ACKED);
}

/* The receiver confirms what it finds up to date, or makes by itself, before it has asked for the
 * extended attributes that differ: only its end says that it has those, too (I9). Those of a file
 * whose content was sent came with it. */
static bool is_early(const struct cargo *c, const struct part *part)
{
	if (part->unasked)
		return !is_written(part);
	return c->xattrs && !(part->flags & WIRE_DATA_SENT);
}

void verdict_item(struct cargo *c, struct part *part, unsigned iflags)
{
	if (iflags & SESSION_ITEM_NEW)
		part->flags |= WIRE_WAS_NEW;
	if (is_proof(part) && (iflags & STAMP_DIFFERS))
		cargo_settle(c, part, WIRE_DISPROVED);
	if (iflags & ITEM_DIFFERS)
		part->differs = true;
	if (iflags & SESSION_ITEM_TRANSFER)
		part->asked = true;
	part->iflags |= (uint16_t)iflags;
	if (part->success && !is_early(c, part) && !is_proof(part))
		confirm(c, part);
}

/* A word that is damaged on its way may be meant for another part: a proof is believed when no
 * other is waiting for one, else at the end of the phase. */
static void believe_proof(struct cargo *c)
{
	for (size_t i = 0; c->unsettled == 1 && i < c->parts_n; i++)
		if (is_proof(&c->parts[i]) && c->parts[i].success)
			confirm(c, &c->parts[i]);
}

void verdict_stamp_request(struct cargo *c, struct part *part, unsigned iflags)
{
	/* The content class asks for everything; then only the flags are evidence. */
	if (iflags & STAMP_DIFFERS)
		cargo_settle(c, part, WIRE_DISPROVED);
	part->success = true;
	believe_proof(c);
}

/* The server was seen to do something about it: it took content, or told what it changed. */
static bool has_acted(const struct part *part)
{
	return (part->flags & WIRE_DATA_SENT) || part->iflags;
}

void verdict_success(struct cargo *c, struct part *part)
{
	part->successes++;
	if (part->kind == PART_STAMP && part->serve)
		cargo_settle(c, part, WIRE_ACKED);
	else if (part->kind == PART_FILE && S_ISREG(part->fp.mode) && !part->group &&
	         !is_early(c, part) && (has_acted(part) || c->phase))
		confirm(c, part);
	else if (part->kind == PART_FILE || part->kind == PART_FORMER || is_proof(part))
		/* Overtakes the item, which says whether the name was new. And of a file that needs
		 * nothing it is the only word: a damaged one may be meant for another. */
		part->success = true;
	believe_proof(c);
}

static void remember(char **text, struct bytes s)
{
	free(*text);
	*text = mem_dup(s.p ? s.p : "", s.n);
}

static struct bytes trimmed(struct bytes s)
{
	while (s.n && (s.p[s.n - 1] == '\n' || s.p[s.n - 1] == '\r'))
		s.n--;
	return s;
}

static void blame_part(struct part *part, struct bytes text)
{
	switch (blame_attribute(text)) {
	case BLAME_NOT_KEPT:
		cargo_remark(part, text);
		return;
	case BLAME_MISSING:
		/* No room for an attribute is no word about room for content. */
		cargo_blame(part, text, TROUBLE_NONE);
		part->incomplete = true;
		return;
	case BLAME_NO_ATTRIBUTE:
		cargo_blame(part, text, blame_trouble(text));
		part->kept = false;
		if (!blame_attributes_only(text))
			part->blocked = true;
		return;
	}
}

bool verdict_message(struct cargo *c, enum session_level level, struct bytes text,
                     struct blame *ret)
{
	struct part *kept = blame_kept(c, text);
	bool attributes = blame_attributes_only(text);

	text = trimmed(text);
	if (kept) {
		kept->kept = true;
		if (!kept->text)
			cargo_blame(kept, text, TROUBLE_NONE);
		return false;
	}
	if (blame_skips_deletions(text))
		level = SESSION_ERROR;
	if ((level != SESSION_ERROR && level != SESSION_ERROR_XFER) || blame_is_harmless(text))
		return false;
	/* The last words of a server that gives up name no cause: the line before them does. */
	if (blame_is_echo(text) && c->last_error)
		return false;
	remember(&c->last_error, text);
	if (blame_is_echo(text))
		return false;
	blame_find(ret, c, text);
	for (size_t i = 0; i < ret->n; i++)
		blame_part(ret->parts[i], text);
	if (ret->n == 0 && !c->complaint)
		remember(&c->complaint, text);
	return !attributes;
}

static void fail(struct cargo *c, struct part *part, const char *reason)
{
	if (!part->text) {
		struct bytes text = bytes_of(reason);

		cargo_blame(part, text, blame_trouble(text));
	}
	cargo_settle(c, part, WIRE_FAILED);
}

/* A directory that stays because something of ours in it could not be deleted is not KEPT. */
static void unkeep_above_failures(struct cargo *c)
{
	for (size_t i = 0; i < c->parts_n; i++) {
		struct part *part = &c->parts[i], *above;

		if (part->kind != PART_DELETION || part->kept || !part->text)
			continue;
		for (struct bytes dir = path_parent(part->path); dir.n; dir = path_parent(dir)) {
			above = cargo_find(c, dir);
			if (above && above->kind == PART_DELETION)
				above->kept = false;
		}
	}
}

void verdict_extra(struct cargo *c, struct bytes path, bool is_dir)
{
	struct walk w;
	struct stat st;
	int r;

	if (!c->extras || !path.n || !path_valid(path))
		return;
	walk_init(&w, c->root_fd, c->cross_mounts);
	r = walk_stat(&w, path, &st);
	walk_done(&w);
	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		cargo_tell_extra(c, path, is_dir);
}

/* How the target's entry differs, in words. */
static void describe(struct part *part)
{
	static const struct {
		unsigned flag;
		const char *word;
	} words[] = {{SESSION_ITEM_SIZE, "size"},
	             {SESSION_ITEM_TIME, "time"},
	             {SESSION_ITEM_PERMS, "mode"},
	             {SESSION_ITEM_OWNER, "owner"},
	             {SESSION_ITEM_GROUP, "group"},
	             {SESSION_ITEM_ACL, "ACL"},
	             {SESSION_ITEM_XATTR, "extended attributes"}};
	struct buf b;

	buf_init(&b, 64);
	if (part->iflags & SESSION_ITEM_NEW) {
		buf_printf(&b, "missing");
	} else {
		if (part->iflags & SESSION_ITEM_CHANGE)
			buf_printf(&b, S_ISLNK(part->fp.mode) ? "link target" : "content");
		for (size_t i = 0; i < ARRAY_LEN(words); i++)
			if (part->iflags & words[i].flag)
				buf_printf(&b, "%s%s", b.n ? ", " : "", words[i].word);
	}
	if (!b.n)
		buf_printf(&b, part->group ? "hard links" : "type");
	cargo_blame(part, buf_bytes(&b), TROUBLE_NONE);
	buf_done(&b);
}

static void settle_compared(struct cargo *c, struct part *part, const char *why)
{
	if (part->text || why) {
		fail(c, part, why);
		return;
	}
	if (part->differs)
		describe(part);
	cargo_settle(c, part, part->differs ? WIRE_DISPROVED : WIRE_PROVEN);
}

/* Up to the end of the goodbye a file may still be asked for again, and confirmed later. */
static bool may_follow(const struct cargo *c, const struct part *part)
{
	if (part->redo)
		return true;
	return !part->text && (c->no_ack ? (part->flags & WIRE_DATA_SENT) != 0 : !part->success);
}

/* Of a group, stock receivers ask for a second name when the first is not sent, and then give up
 * without a word: the others are none the worse for it. */
static bool group_was_skipped(const struct cargo *c, const struct part *part)
{
	for (size_t i = 0; part->group && i < c->parts_n; i++) {
		const struct part *other = &c->parts[i];

		if (other == part || other->group != part->group || !other->settled)
			continue;
		if (c->no_ack ? other->text != NULL : !other->success)
			return true;
	}
	return false;
}

static void settle_file(struct cargo *c, struct part *part, bool closed)
{
	if (!closed && may_follow(c, part))
		return;
	if (part->success)
		confirm(c, part);
	else if (!part->text &&
	         (group_was_skipped(c, part) || (!c->no_ack && part->unasked && part->moved)))
		cargo_settle(c, part, WIRE_UNKNOWN);
	else if (!c->no_ack)
		fail(c, part, c->last_error ? c->last_error : "the server did not confirm it");
	else if (part->text || c->complaint)
		fail(c, part, c->complaint);
	else
		confirm(c, part);
}

/* Whether a directory's attributes have moved since it was listed. */
static bool dir_moved(const struct cargo *c, struct walk *w, const struct part *part)
{
	struct fingerprint now;
	struct stat st;

	if (walk_stat(w, part->path, &st))
		return true;
	fingerprint_of(&now, &st);
	/* Nothing else tells of an attribute that was set. */
	if ((c->xattrs || c->acls) && part->fp.ctime_ns != now.ctime_ns)
		return true;
	return part->moved || fingerprint_compare(&part->fp, &now) != FP_SAME;
}

/* What was listed as it had been, since it was not there, is there again. */
static void settle_stand_in(struct cargo *c, struct part *part, struct walk *w)
{
	struct stat st;

	if (part->known && walk_stat(w, part->path, &st) == 0 && S_ISDIR(st.st_mode) &&
	    dir_moved(c, w, part))
		cargo_tell_context(c, part, WIRE_CONTEXT_MOVED);
}

static void settle_at_phase(struct cargo *c, struct part *part, struct walk *w, const char *why)
{
	if (c->compare) {
		settle_compared(c, part, why);
		return;
	}
	switch ((enum part_kind)part->kind) {
	case PART_FILE:
	case PART_STAMP:
		settle_file(c, part, false);
		break;
	case PART_DIR:
		if (part->text || why)
			fail(c, part, why);
		else
			cargo_settle(c, part, dir_moved(c, w, part) ? WIRE_MOVED : WIRE_ACKED);
		break;
	case PART_DELETION:
		if (part->kept)
			cargo_settle(c, part, WIRE_KEPT);
		else if (part->text || why)
			fail(c, part, why);
		else
			cargo_settle(c, part, WIRE_ACKED);
		break;
	case PART_CONTEXT:
		if (part->text || why)
			cargo_tell_context(c, part, WIRE_CONTEXT_UNKNOWN);
		else
			cargo_tell_context(
			        c, part, dir_moved(c, w, part) ? WIRE_CONTEXT_MOVED : WIRE_CONTEXT);
		break;
	case PART_SCAFFOLD:
		settle_stand_in(c, part, w);
		break;
	case PART_FORMER:
		break;
	}
}

void verdict_phase(struct cargo *c)
{
	const struct part *blocker = NULL;
	struct walk w;

	if (c->phase)
		return;
	c->phase = true;
	unkeep_above_failures(c);
	walk_init(&w, c->root_fd, c->cross_mounts);
	for (size_t i = 0; i < c->parts_n; i++) {
		struct part *part = &c->parts[i];
		const char *why = c->complaint;

		if (blocker && !path_below(part->path, blocker->path))
			blocker = NULL;
		if (blocker && !why)
			why = blocker->text;
		/* Deletions do not block: what lies below a directory went before it. */
		if (part->blocked && part->kind != PART_DELETION && !blocker)
			blocker = part;
		settle_at_phase(c, part, &w, why);
	}
	walk_done(&w);
}

void verdict_closed(struct cargo *c)
{
	for (size_t i = 0; i < c->parts_n; i++) {
		struct part *part = &c->parts[i];

		if (!part->settled && (part->kind == PART_FILE || part->kind == PART_STAMP))
			settle_file(c, part, true);
	}
}

void verdict_end(struct cargo *c, bool begun, bool breach)
{
	for (size_t i = 0; i < c->parts_n; i++) {
		struct part *part = &c->parts[i];

		if (!begun)
			cargo_settle(c, part, WIRE_UNSENT);
		else if (part->success && !is_early(c, part) && !is_proof(part) &&
		         (!breach || has_acted(part)))
			confirm(c, part);
		else
			cargo_settle(c, part,
			             part->text && !part->kept ? WIRE_FAILED : WIRE_UNKNOWN);
	}
}
