/* Random runs against the model, over LMDB and over memory; commits, failures of commits, kills and
 * clean ends anywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include "base/mem.h"
#include "ledger/store_lmdb.h"
#include "memstore.h"
#include "model.h"
#include "scratch.h"

struct world {
	struct random random;
	struct model model;
	struct ledger *l;
	struct store *store;
	struct intent_log *log;
	bool memory;
};

static void step(struct world *w)
{
	char room[3][64];
	struct bytes path = random_path(&w->random, room[0], sizeof(room[0]));
	struct fingerprint fp;
	struct bytes batch[3];
	uint32_t n;

	if (random_below(&w->random, 40) == 0)
		path.n = 0;
	switch (random_below(&w->random, 20)) {
	case 0 ... 3:
		n = 1 + random_below(&w->random, 3);
		for (uint32_t i = 0; i < n; i++) {
			batch[i] = random_path(&w->random, room[i], sizeof(room[i]));
			model_intend(&w->model, batch[i]);
		}
		assert_int_equal(ledger_intend(w->l, batch, n), 0);
		break;
	case 4 ... 6:
		model_withdraw(&w->model, path);
		ledger_withdraw(w->l, path);
		break;
	case 7 ... 15:
		random_fingerprint(&w->random, &fp);
		if (!path.n)
			fp.mode = S_IFDIR | 0700;
		model_confirm(&w->model, path, &fp);
		ledger_confirm(w->l, path, &fp);
		break;
	case 16:
		model_gone(&w->model, path);
		ledger_confirm_gone(w->l, path);
		break;
	case 17:
		model_gone(&w->model, path);
		ledger_forget(w->l, path);
		break;
	default:
		assert_int_equal(ledger_commit(w->l), 0);
		assert_int_equal(ledger_uncommitted(w->l), 0);
		break;
	}
}

static void run(struct world *w, int steps)
{
	for (int i = 0; i < steps; i++) {
		bool fails = w->memory && random_below(&w->random, 10) == 0;

		if (fails) {
			/* Leaves a layer between front and store. */
			memstore_fail(w->store, ENOSPC);
			(void)ledger_commit(w->l);
			memstore_fail(w->store, 0);
		}
		step(w);
		model_check(&w->model, w->l);
	}
}

static void ledger_over_memory_random_changes_equals_model(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 12; seed++) {
		struct world *w = mem_alloc(sizeof(*w));

		print_message("# seed %llu\n", (unsigned long long)seed);
		w->random.state = seed;
		w->memory = true;
		w->store = memstore_new();
		w->log = memlog_new();
		w->l = ledger_new(w->store, w->log);
		run(w, 600);
		assert_int_equal(ledger_commit(w->l), 0);
		ledger_drop(w->l);
		w->l = ledger_new(w->store, w->log);
		model_check(&w->model, w->l);
		run(w, 100);
		ledger_close(w->l);
		memstore_free(w->store);
		memlog_free(w->log);
		free(w);
	}
}

static void open_lmdb(struct world *w, const char *dir)
{
	autofree char *path = mem_printf("%s/ledger.mdb", dir);
	struct err err = {0};
	bool fresh, found;

	assert_int_equal(store_lmdb_open(&w->store, path, &fresh, &err), 0);
	assert_int_equal(intents_open(&w->log, dir, &found, &err), 0);
	w->l = ledger_new(w->store, w->log);
}

static void ledger_over_lmdb_random_changes_equals_model(void **state)
{
	(void)state;
	for (uint64_t seed = 101; seed <= 104; seed++) {
		struct world *w = mem_alloc(sizeof(*w));
		char *dir = scratch_make();

		print_message("# seed %llu\n", (unsigned long long)seed);
		w->random.state = seed;
		for (int round = 0; round < 4; round++) {
			open_lmdb(w, dir);
			model_check(&w->model, w->l);
			run(w, 200);
			ledger_close(w->l);
		}
		scratch_remove(dir);
		free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(ledger_over_memory_random_changes_equals_model),
	        cmocka_unit_test(ledger_over_lmdb_random_changes_equals_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
