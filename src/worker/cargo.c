#include "worker/cargo.h"

#include "base/mem.h"
#include "base/path.h"

/* A report stays far below the frame limit even when every item carries its longest text. */
#define REPORT_ITEMS_MAX 1000
#define TEXT_BYTES_MAX   2000

struct cargo *cargo_new(struct bytes payload, int root_fd)
{
	struct cargo *c = mem_alloc(sizeof(*c));

	c->root_fd = root_fd;
	c->payload = mem_dup(payload.p ? payload.p : "", payload.n);
	if (wire_get_batch((struct bytes){c->payload, payload.n}, &c->batch)) {
		cargo_free(c);
		return NULL;
	}
	c->unsettled = c->batch.count;
	c->with_former = mem_array(c->batch.count + 1, sizeof(*c->with_former));
	return c;
}

static void drop_answers(struct cargo *c)
{
	for (size_t i = 0; i < c->answers_n; i++) {
		struct wire_result_item *answer = &c->answers[i];

		free((char *)answer->text.p);
		if (answer->index == CARGO_NONE && answer->result == WIRE_DISPROVED)
			free((char *)answer->path.p); /* that of an extra; others are borrowed */
	}
	c->answers_n = 0;
}

static void forget_words(struct part *part)
{
	free(part->text);
	free(part->remark);
}

void cargo_free(struct cargo *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->parts_n; i++)
		forget_words(&c->parts[i]);
	drop_answers(c);
	free(c->parts);
	free(c->answers);
	free(c->listed);
	free(c->with_former);
	free(c->complaint);
	free(c->last_error);
	wire_free_batch(&c->batch);
	free(c->payload);
	mem_closep(&c->root_fd);
	free(c);
}

struct part *cargo_add_part(struct cargo *c, enum part_kind kind, struct bytes path, uint32_t item)
{
	struct part *part;

	if (c->parts_n == c->parts_cap) {
		c->parts_cap = c->parts_cap ? 2 * c->parts_cap : 64;
		c->parts = mem_realloc(c->parts, c->parts_cap, sizeof(*c->parts));
	}
	part = &c->parts[c->parts_n++];
	*part = (struct part){
	        .kind = (uint8_t)kind, .path = path, .item = item, .entry = CARGO_NONE};
	return part;
}

struct part *cargo_find(struct cargo *c, struct bytes path)
{
	size_t low = 0, high = c->parts_n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = path_compare(c->parts[mid].path, path);

		if (order == 0)
			return &c->parts[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

struct part *cargo_at_entry(struct cargo *c, size_t entry)
{
	return entry < c->listed_n ? &c->parts[c->listed[entry]] : NULL;
}

static struct bytes own_text(struct bytes text)
{
	if (text.n > TEXT_BYTES_MAX)
		text.n = TEXT_BYTES_MAX;
	return (struct bytes){text.n ? mem_dup(text.p, text.n) : NULL, text.n};
}

static struct wire_result_item *add_answer(struct cargo *c, uint32_t item, enum wire_result result,
                                           struct bytes text)
{
	struct wire_result_item *answer;

	if (c->answers_n == c->answers_cap) {
		c->answers_cap = c->answers_cap ? 2 * c->answers_cap : 64;
		c->answers = mem_realloc(c->answers, c->answers_cap, sizeof(*c->answers));
	}
	answer = &c->answers[c->answers_n++];
	*answer = (struct wire_result_item){
	        .index = item, .result = (uint8_t)result, .text = own_text(text)};
	if (item != CARGO_NONE && c->with_former[item])
		answer->flags = WIRE_FORMER;
	return answer;
}

void cargo_answer(struct cargo *c, uint32_t item, enum wire_result result, struct bytes text)
{
	(void)add_answer(c, item, result, text);
	c->unsettled--;
}

/* What the target holds under this name now. */
static void keep_repeats(struct cargo *c, const struct part *part, enum wire_result result)
{
	if (!c->repeats || c->compare || result == WIRE_SAME)
		return;
	if (part->hashed && (result == WIRE_ACKED || result == WIRE_MOVED))
		repeats_note(c->repeats, part->path, part->digest);
	else if (part->kind == PART_DELETION || !S_ISREG(part->fp.mode) ||
	         (part->flags & (WIRE_DATA_SENT | WIRE_WAS_NEW)))
		repeats_forget(c->repeats, part->path);
}

void cargo_settle(struct cargo *c, struct part *part, enum wire_result result)
{
	struct bytes text = {part->text, part->text_n};
	struct wire_result_item *answer;

	if (part->settled || part->item == CARGO_NONE)
		return;
	part->settled = true;
	c->unsettled--;
	keep_repeats(c, part, result);
	if (!part->text && (result == WIRE_ACKED || result == WIRE_MOVED))
		text = bytes_of(part->remark);
	answer = add_answer(c, part->item, result, text);
	answer->flags |= part->flags;
	answer->trouble = result == WIRE_FAILED ? part->trouble : (uint8_t)TROUBLE_NONE;
	if (part->kind != PART_DELETION && part->kind != PART_STAMP)
		answer->fp = part->fp;
}

void cargo_tell_context(struct cargo *c, struct part *part, enum wire_result result)
{
	struct wire_result_item *answer;

	answer = add_answer(c, CARGO_NONE, result, (struct bytes){0});
	answer->path = part->path;
	answer->flags = part->flags;
	answer->fp = part->fp;
}

void cargo_tell_extra(struct cargo *c, struct bytes path, bool is_dir)
{
	struct wire_result_item *answer;

	answer = add_answer(c, CARGO_NONE, WIRE_DISPROVED, (struct bytes){0});
	answer->path = (struct bytes){mem_dup(path.p, path.n), path.n};
	answer->fp.mode = is_dir ? S_IFDIR : S_IFREG;
}

void cargo_blame(struct part *part, struct bytes text, enum trouble trouble)
{
	struct bytes own = own_text(text);

	free(part->text);
	part->text = (char *)own.p;
	part->text_n = own.n;
	part->trouble = (uint8_t)trouble;
}

void cargo_remark(struct part *part, struct bytes text)
{
	if (!part->remark)
		part->remark = mem_dup(text.p, text.n);
}

void cargo_report(struct cargo *c, struct frame_out *out)
{
	for (size_t at = 0; at < c->answers_n; at += REPORT_ITEMS_MAX) {
		struct wire_report report = {c->batch.id, c->answers + at, c->answers_n - at};
		struct buf b;

		if (report.count > REPORT_ITEMS_MAX)
			report.count = REPORT_ITEMS_MAX;
		buf_init(&b, FRAME_PAYLOAD_MAX);
		wire_put_report(&b, &report);
		frame_out_add(out, WIRE_REPORT, buf_bytes(&b), NULL, 0);
		buf_done(&b);
	}
	drop_answers(c);
}
