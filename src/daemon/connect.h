/*
 * connect: one attempt to get a connected descriptor for a session; shared by its connectors.
 */
#ifndef DAEMON_CONNECT_H
#define DAEMON_CONNECT_H

#include <netdb.h>
#include "daemon/child.h"
#include "daemon/runtime.h"

struct connect {
	struct job *job; /* NULL: cancelled, only its handles are left */
	uint64_t session;
	enum session_class class;
	bool extras;      /* session_options.extras */
	bool shared;      /* goes over the connection that the job's sessions share */
	unsigned without; /* what the target was known to refuse when it began */
	uv_getaddrinfo_t resolve;
	struct addrinfo *addresses, *next_address;
	uv_poll_t poll;
	uv_timer_t timer;
	int fd;
	unsigned handles;    /* requests and open handles */
	struct child *child; /* ssh, rsync or a TLS relay, as long as it runs */
	bool with_child, gone_known, polling, timing, resolving;
	struct wire_gone gone; /* kept until the child has ended; texts below */
	char gone_text[600], text[300], refused[64];
	char errors[400]; /* what the child wrote on standard error */
	int64_t status;   /* its exit status */
	struct connect_tls {
		uv_poll_t poll;
		uv_timer_t timer;
		bool waiting; /* for the server's first word through the relay */
	} tls;
	struct connect_place {
		struct job *owner; /* whose `looking` this is */
		bool waiting;      /* for an earlier look to end */
		char path[4096];
		bool require_mount;
		int error; /* errno of what failed, 0: it is there */
		int dir;   /* what was looked at, O_PATH; -1: none */
		bool is_mount;
		char pin[4096]; /* the file that says which directory it is */
		int pinned;     /* 0: this one; -ESTALE: another; other -errno: see err */
		struct err err;
	} place;
	struct connect *next;
};

/* The outcomes of an attempt. */
void connect_done(struct connect *c, enum session_kind kind); /* c->fd goes to the worker */
void connect_failed(struct connect *c, enum trouble t, const char *fmt, ...)
        __attribute__((format(printf, 3, 4)));
void connect_handle_closed(struct connect *c);

/* connect_tcp.c, connect_tls.c, connect_spawn.c */
void connect_tcp(struct connect *c);
void connect_ssh(struct connect *c);
void connect_local(struct connect *c);
/* Whether something is mounted on the directory, O_PATH will do. Linux 5.8 says it. Before, only
 * the device tells: a bind mount within one file system looks like a plain directory, and a
 * subvolume of btrfs like a mount. */
bool connect_is_mount(int dir);
void connect_tcp_cancel(struct connect *c);
void connect_local_forget(struct job *j); /* it ends; what looks for it goes on alone */
void connect_tls(struct connect *c);      /* c->fd is connected to the server */
void connect_tls_cancel(struct connect *c);
/* The child of a session has ended. */
void connect_child_ended(struct connect *c, struct bytes errors, int64_t status);

#endif
