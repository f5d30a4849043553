#include "ledger/store_lmdb.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/fd.h"
#include "base/mem.h"
#include "ledger/lmdb_check.h"
#include "ledger/lmdb_impl.h"

#define MAP_BYTES_FIRST ((size_t)1 << 36) /* address space, not memory */
#define MAP_BYTES_LEAST ((size_t)1 << 28)

static const char *const table_names[TABLES] = {"meta", "dir", "entry", "ino", "intent"};

static struct store_view *store_view_open(struct store *base)
{
	struct store_lmdb *s = lmdb_of(base);
	MDB_txn *txn = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->nidle)
		txn = s->idle[--s->nidle];
	if (txn && mdb_txn_renew(txn)) {
		mdb_txn_abort(txn);
		txn = NULL;
	}
	if (!txn && mdb_txn_begin(s->env, NULL, MDB_RDONLY, &txn))
		txn = NULL;
	if (txn)
		s->views++;
	else
		lmdb_damage(s, -EIO);
	pthread_mutex_unlock(&s->lock);
	return (struct store_view *)txn;
}

static void store_view_close(struct store *base, struct store_view *v)
{
	struct store_lmdb *s = lmdb_of(base);

	if (!v)
		return;
	pthread_mutex_lock(&s->lock);
	s->views--;
	if (s->nidle < IDLE_TXN_MAX) {
		mdb_txn_reset(lmdb_txn(v));
		s->idle[s->nidle++] = lmdb_txn(v);
	} else {
		mdb_txn_abort(lmdb_txn(v));
	}
	pthread_mutex_unlock(&s->lock);
}

static uint64_t store_entries(struct store *base)
{
	return atomic_load(&lmdb_of(base)->entries);
}

static bool store_meta(struct store *base, const char *key, struct buf *ret)
{
	struct store_view *v = store_view_open(base);
	bool found = v && lmdb_read_meta(lmdb_of(base), lmdb_txn(v), key, ret);

	store_view_close(base, v);
	return found;
}

static void store_close(struct store *base)
{
	struct store_lmdb *s = lmdb_of(base);

	while (s->nidle)
		mdb_txn_abort(s->idle[--s->nidle]);
	mdb_env_close(s->env);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* LMDB leaves its data file open in every process that is started: in workers, ssh and rsync. */
static void keep_from_children(MDB_env *env)
{
	int fd;

	if (mdb_env_get_fd(env, &fd) == 0)
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

/* Less address space where it is short (ulimit -v, 32 bits of it in a container). */
static int open_env(MDB_env **ret, const char *path, struct err *err)
{
	size_t map = MAP_BYTES_FIRST;

	for (;;) {
		MDB_env *env;
		int rc = mdb_env_create(&env);

		if (rc)
			return err_set(err, ENOMEM, "cannot open %s: %s", path, mdb_strerror(rc));
		mdb_env_set_maxdbs(env, TABLES);
		mdb_env_set_maxreaders(env, 254);
		mdb_env_set_mapsize(env, map);
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOTLS, 0600);
		if (!rc) {
			keep_from_children(env);
			*ret = env;
			return 0;
		}
		mdb_env_close(env);
		map /= 2;
		if (rc != ENOMEM || map < MAP_BYTES_LEAST)
			return err_set(err, -lmdb_errno(rc), "cannot open %s: %s", path,
			               mdb_strerror(rc));
	}
}

/* The format is looked at before anything else: a newer one may have other tables. */
static int check_format(struct store_lmdb *s, MDB_txn *txn, const char *path, struct err *err)
{
	uint64_t format;
	int rc = mdb_dbi_open(txn, table_names[TABLE_META], 0, &s->table[TABLE_META]);

	if (rc || !lmdb_read_meta_number(s, txn, "format", &format))
		return err_set(err, EUCLEAN, "%s: holds no ledger", path);
	if (format > STORE_FORMAT)
		return err_set(err, ENOTSUP,
		               "%s: has format %llu, made by a newer version; this one knows %d",
		               path, (unsigned long long)format, STORE_FORMAT);
	return format ? 0 : err_set(err, EUCLEAN, "%s: format 0", path);
}

static int open_tables(struct store_lmdb *s, const char *path, bool create, struct err *err)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(s->env, NULL, create ? 0 : MDB_RDONLY, &txn);
	int r = 0;

	if (rc)
		return err_set(err, -lmdb_errno(rc), "%s: %s", path, mdb_strerror(rc));
	if (!create)
		r = check_format(s, txn, path, err);
	for (enum lmdb_table table = 0; table < TABLES && r == 0; table++) {
		rc = mdb_dbi_open(txn, table_names[table], create ? MDB_CREATE : 0,
		                  &s->table[table]);
		if (rc)
			r = err_set(err, create ? -lmdb_errno(rc) : EUCLEAN, "%s: table %s: %s",
			            path, table_names[table], mdb_strerror(rc));
	}
	if (r == 0 && create)
		r = lmdb_write_meta_number(s, txn, "format", STORE_FORMAT);
	/* LMDB keeps table handles only if their transaction is committed, a read one, too. */
	if (r == 0) {
		rc = mdb_txn_commit(txn);
		return rc ? err_set(err, -lmdb_errno(rc), "%s: %s", path, mdb_strerror(rc)) : 0;
	}
	mdb_txn_abort(txn);
	return r;
}

static int load(struct store_lmdb *s, const char *path, struct err *err)
{
	struct store_view *v = store_view_open(&s->base);
	uint64_t entries;
	int r;

	if (!v)
		return err_set(err, EIO, "%s: cannot be read", path);
	r = lmdb_read_verify(s, lmdb_txn(v), err);
	if (r < 0)
		r = err_wrap(err, "%s", path);
	else if (!lmdb_read_meta_number(s, lmdb_txn(v), "entries", &entries) ||
	         !lmdb_read_meta_number(s, lmdb_txn(v), "next_dir", &s->next_dir))
		r = err_set(err, EUCLEAN, "%s: counters are missing", path);
	else
		atomic_store(&s->entries, entries);
	store_view_close(&s->base, v);
	return r;
}

static int open_or_create(struct store_lmdb *s, const char *path, bool create, struct err *err)
{
	int r = open_env(&s->env, path, err);

	if (r < 0)
		return r;
	r = open_tables(s, path, create, err);
	if (r == 0 && create)
		r = lmdb_write_commit(&s->base, NULL, 0, NULL, NULL, 0, err);
	if (r == 0)
		r = load(s, path, err);
	return r;
}

int store_lmdb_open(struct store **ret, const char *path, bool *ret_new, struct err *err)
{
	autofree char *lock_file = mem_printf("%s-lock", path);
	struct store_lmdb *s;
	struct stat st;
	int r;

	*ret_new = stat(path, &st) < 0;
	if (*ret_new && errno != ENOENT)
		return err_errno(err, errno, "%s", path);
	r = *ret_new ? 0 : lmdb_check_file(path, err);
	if (r < 0)
		return r;
	/* Left by a crash it may hold anything, and nobody else has this ledger open. */
	(void)unlink(lock_file);
	s = mem_alloc(sizeof(*s));
	s->base = (struct store){
	        .view = store_view_open,
	        .unview = store_view_close,
	        .get = lmdb_read_get,
	        .list = lmdb_read_list,
	        .aliases = lmdb_read_aliases,
	        .intended = lmdb_read_intended,
	        .entries = store_entries,
	        .commit = lmdb_write_commit,
	        .meta = store_meta,
	        .close = store_close,
	};
	s->next_dir = DIR_ROOT + 1;
	pthread_mutex_init(&s->lock, NULL);
	r = open_or_create(s, path, *ret_new, err);
	if (r < 0) {
		store_close(&s->base);
		return r;
	}
	*ret = &s->base;
	return 0;
}
