/* The content of one requested file: header, tokens, digest. */
#include "rsync/session_internal.h"

#include "base/mem.h"

#define RESERVE_MAX       (1u << 20)
#define BASIS_FROM_DIR_0  0x84 /* a name below the first --copy-dest, in the file's directory */
#define PROTOCOL_CLAIMING 31   /* rsync 3.1.0 */

static bool answering(const struct session *s, bool begun)
{
	return s->state == SESSION_SERVING && s->answering && s->begun == begun;
}

/* The request is dealt with: on to what waited behind it. */
static void finish(struct session *s)
{
	struct listed *l = &s->listed[s->tasks->ndx];

	delta_free(TAKE(s->delta));
	s->answering = s->begun = false;
	s->claimed = (struct sum_head){0};
	/* The confirmation of what was sent unasked may come when it is being sent once more. */
	if (!l->early || !l->answered_at)
		l->answered_at = s->out.total + mux_out_pending(&s->out).n;
	serve_drop_task(s);
	serve_pump(s);
	session_check_output(s);
}

void session_answer_begin(struct session *s, uint64_t expected_size)
{
	struct task *t = s->tasks;
	struct buf head;

	if (!answering(s, false))
		return;
	s->begun = true;
	if (!s->tokens) {
		s->tokens = token_writer_new(s->compress, s->o.compress_level);
		s->file_hash = hasher_new(s->strong);
		s->block_hash = hasher_new(s->strong);
	}
	(void)buf_reserve(&s->out.bytes, expected_size < RESERVE_MAX ? expected_size : RESERVE_MAX);
	serve_put_item(s, t);
	buf_init(&head, SUM_HEAD_BYTES);
	sum_head_put(&head, s->claimed.count ? &s->claimed : &t->sums.head);
	mux_out_data(&s->out, buf_bytes(&head));
	buf_done(&head);
	token_begin(s->tokens, &s->out);
	hasher_begin(s->file_hash);
	if (t->sums.head.count)
		s->delta = delta_new(&t->sums, s->seed, s->block_hash, s->tokens);
}

static bool may_claim(const struct session *s, const struct task *t, struct bytes basis,
                      uint64_t basis_bytes)
{
	return s->class == SESSION_CONTENT && s->o.copies && s->protocol >= PROTOCOL_CLAIMING &&
	       !t->redo && !t->sums.head.count &&
	       !(t->iflags & (ITEM_BASIS_FOLLOWS | SESSION_ITEM_XNAME)) && basis.n &&
	       basis.n < XNAME_MAX && basis.n <= NAMES_MEMORY_MAX - s->names_bytes && basis_bytes &&
	       basis_bytes / SESSION_CLAIM_BLOCK < INT32_MAX;
}

bool session_answer_claim(struct session *s, struct bytes basis, uint64_t basis_bytes,
                          uint64_t expected_size)
{
	struct task *t = s->tasks;

	if (!answering(s, false) || !may_claim(s, t, basis, basis_bytes))
		return false;
	t->iflags |= ITEM_BASIS_FOLLOWS | SESSION_ITEM_XNAME;
	t->basis = BASIS_FROM_DIR_0;
	t->xname = (struct bytes){mem_dup(basis.p, basis.n), basis.n};
	s->names_bytes += basis.n;
	s->claimed = (struct sum_head){
	        .count = (int32_t)((basis_bytes + SESSION_CLAIM_BLOCK - 1) / SESSION_CLAIM_BLOCK),
	        .block = SESSION_CLAIM_BLOCK,
	        .strong = SUM_STRONG_LEAST,
	        .remainder = (int32_t)(basis_bytes % SESSION_CLAIM_BLOCK),
	};
	session_answer_begin(s, expected_size < SESSION_CLAIM_BLOCK ? expected_size : 0);
	return true;
}

bool session_answer_unasked(struct session *s, size_t index, uint64_t expected_size)
{
	struct listed *l;
	struct task *t;

	if (s->state != SESSION_SERVING || s->answering || s->dones || s->class != SESSION_QUICK ||
	    s->o.no_ack || s->attrs || index >= s->nlisted)
		return false;
	l = &s->listed[s->place[index]];
	if (!l->regular || l->requests || l->unasked)
		return false;
	t = mem_alloc(sizeof(*t));
	t->kind = TASK_REQUEST;
	t->ndx = (int32_t)s->place[index];
	t->iflags = SESSION_ITEM_TRANSFER | SESSION_ITEM_NEW;
	t->next = s->tasks;
	if (!s->tasks)
		s->tasks_end = &t->next;
	s->tasks = t;
	l->early = l->unasked = s->answering = true;
	s->unasked++;
	session_answer_begin(s, expected_size);
	return true;
}

void session_answer_data(struct session *s, struct bytes slice)
{
	if (!answering(s, true) || !slice.n)
		return;
	hasher_update(s->file_hash, slice);
	if (s->delta)
		delta_feed(s->delta, slice);
	else
		token_literal(s->tokens, slice);
	session_check_output(s);
}

void session_answer_copy(struct session *s, struct bytes slice, uint64_t offset)
{
	uint64_t block = offset / SESSION_CLAIM_BLOCK;

	if (!answering(s, true) || !slice.n)
		return;
	check(offset % SESSION_CLAIM_BLOCK == 0);
	hasher_update(s->file_hash, slice);
	for (size_t done = 0; done < slice.n; done += SESSION_CLAIM_BLOCK, block++) {
		check(block < (uint64_t)s->claimed.count);
		token_block(s->tokens, (int32_t)block);
	}
	session_check_output(s);
}

static void end(struct session *s, bool good)
{
	unsigned char sum[SUM_BYTES_MAX];

	if (!answering(s, true))
		return;
	if (s->delta)
		delta_end(s->delta);
	token_end(s->tokens);
	hasher_end(s->file_hash, sum);
	if (!good)
		sum[0] ^= 0xff;
	mux_out_data(&s->out, (struct bytes){(const char *)sum, strong_table[s->strong].size});
	finish(s);
}

void session_answer_end(struct session *s)
{
	end(s, true);
}

void session_answer_abort(struct session *s)
{
	end(s, false);
}

void session_no_send(struct session *s)
{
	if (!answering(s, false))
		return;
	/* Values of a set are asked for once, with the first file that has it. So they go, with a
	 * content that is discarded and asked for again. */
	if (s->tasks->wanted.n) {
		session_answer_begin(s, 0);
		session_answer_abort(s);
		return;
	}
	s->not_sent = true;
	mux_out_message_int(&s->out, MUX_NO_SEND, s->tasks->ndx);
	finish(s);
}

bool session_unasked_failed(struct session *s, size_t index)
{
	struct listed *l = index < s->nlisted ? &s->listed[s->place[index]] : NULL;

	if (!l || !l->unasked)
		return false;
	serve_settle_unasked(s, l, false);
	return true;
}

size_t session_unasked(const struct session *s)
{
	return s->unasked;
}

void session_write_off(struct session *s, size_t index)
{
	if (s->state != SESSION_SERVING || s->dones || index >= s->nlisted)
		return;
	mux_out_message_int(&s->out, MUX_NO_SEND, (int32_t)s->place[index]);
	session_check_output(s);
}
