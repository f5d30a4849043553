/*
 * make_fixture: writes the fixture of the current ledger format into an existing, empty directory.
 * Run once per format, before its release: make_fixture tests/fixtures/ledger-1
 */
#include <stdio.h>
#include <unistd.h>
#include "base/mem.h"
#include "ledger/ledger.h"
#include "ledger/store_lmdb.h"

static void confirm(struct ledger *l, struct bytes path, uint64_t ino, uint64_t size,
                    uint32_t nlink)
{
	struct fingerprint fp = {S_IFREG | 0644, 1, 2, nlink, size, 5, 6, 7, ino};

	ledger_confirm(l, path, &fp);
}

int main(int argc, char **argv)
{
	const struct ledger_identity identity = {"fs-1 ino-2", "rsync://h/m", 11, 22};
	autofree char *path = NULL;
	autofree char *lock = NULL;
	struct store *store;
	struct intent_log *log;
	struct ledger *l;
	struct err err = {0};
	bool fresh, found;

	if (argc != 2)
		return 2;
	path = mem_printf("%s/ledger.mdb", argv[1]);
	if (store_lmdb_open(&store, path, &fresh, &err) < 0 ||
	    intents_open(&log, argv[1], &found, &err) < 0) {
		(void)fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	l = ledger_new(store, log);
	ledger_adopt(l, &identity);
	confirm(l, BYTES("docs/plain"), 40, 1, 1);
	confirm(l, BYTES("docs/link-1"), 50, 9, 2);
	confirm(l, BYTES("docs/link-2"), 50, 9, 2);
	confirm(l, BYTES("odd\n\xff"), 41, 3, 1);
	confirm(l, BYTES("gone/x"), 42, 3, 1);
	ledger_confirm_gone(l, BYTES("gone"));
	(void)ledger_intend(l, &BYTES("intended"), 1);
	ledger_set_phase(l, LEDGER_LIVE);
	ledger_set_generation(l, 12);
	(void)ledger_commit(l);
	(void)ledger_intend(l, &BYTES("logged"), 1);
	/* No clean end. */
	ledger_drop(l);
	log->close(log);
	store->close(store);
	lock = mem_printf("%s-lock", path);
	return unlink(lock) < 0;
}
