/*
 * sim: runs seeds of the simulated world and checks the invariants.
 *
 *     sim [FIRST_SEED] [SEEDS] [STEPS]
 *
 * Prints one TAP line a hundred seeds, and for a violation the seed that replays it (SIM_LOG=1
 * shows the engine's own words).
 */
#include <stdio.h>
#include "base/mem.h"
#include "base/path.h"
#include "world.h"

static bool run_seed(uint64_t seed, unsigned steps, uint64_t *figures)
{
	struct world *w = mem_alloc(sizeof(*w));
	bool ok;

	w->random = seed * 0x9e3779b97f4a7c15u + 0x1234567;
	w->now_ns = w->synced_ns = 1000 * S;
	w->events_tail = &w->events;
	w->store = memstore_new();
	w->log = memlog_new();
	w->recents = memlog_new();
	w->mood = (struct mood){.brake = seed % 4 == 3,
	                        .blind = seed % 16 == 5,
	                        .keep_deleted = seed % 16 == 9,
	                        .renames = seed % 3 == 0,
	                        .links = seed % 5 != 1,
	                        .copies = seed % 7 < 4,
	                        .marks_limit = seed % 8 == 6 ? 12 : 64,
	                        .letters = seed % 32 == 2 ? 20 : 5};
	check_new(w);
	source_grow(w, seed % 32 == 2 ? 2000 : 0);
	world_start_daemon(w);
	for (unsigned i = 0; i < steps && !w->violation; i++) {
		world_step(w);
		/* Now and then all is quiet and everything must be equal, as `wait` promises. */
		if (i % 500 == 499) {
			world_settle(w);
			check_equal(w);
			w->quiet = false;
		}
	}
	world_settle(w);
	check_equal(w);
	figures[0] += w->steps;
	figures[1] += w->deletions;
	figures[2] += w->crashes;
	figures[3] += w->faults;
	figures[4] += w->links;
	figures[5] += w->copies;
	ok = !w->violation;
	if (!ok)
		(void)printf("# seed %llu step %llu at %lld ms: %s (%s)\n",
		             (unsigned long long)seed, (unsigned long long)w->steps,
		             (long long)(w->now_ns / MS), w->violation, w->detail);
	check_free(w);
	target_free(w);
	engine_free(w->engine);
	ledger_drop(w->ledger);
	memstore_free(w->store);
	memlog_free(w->log);
	memlog_free(w->recents);
	model_clear(&w->source);
	model_clear(&w->target);
	model_clear(&w->synced);
	model_clear(&w->brought);
	world_drop_events(w);
	free(w);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
	uint64_t count = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
	unsigned steps = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 2000;
	uint64_t figures[6] = {0}, failed = 0, block = 0;

	(void)printf("1..%llu\n", (unsigned long long)((count + 99) / 100));
	for (uint64_t i = 0; i < count; i += 100) {
		uint64_t bad = 0;

		for (uint64_t k = i; k < i + 100 && k < count; k++)
			bad += !run_seed(first + k, steps, figures);
		failed += bad;
		(void)printf("%sok %llu - seeds %llu to %llu\n", bad ? "not " : "",
		             (unsigned long long)++block, (unsigned long long)(first + i),
		             (unsigned long long)(first + i + 99));
		(void)fflush(stdout);
		if (bad && getenv("SIM_FIRST"))
			return 1;
	}
	(void)printf("# %llu steps, %llu deletions, %llu crashes, %llu faults, %llu links, "
	             "%llu copies\n",
	             (unsigned long long)figures[0], (unsigned long long)figures[1],
	             (unsigned long long)figures[2], (unsigned long long)figures[3],
	             (unsigned long long)figures[4], (unsigned long long)figures[5]);
	return failed != 0;
}
