/* Any bytes from the other end of the socketpair: frames within their limits, or an error. */
#include <sys/socket.h>

#include "base/frame.h"
#include "base/mem.h"
#include "target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int ends[2];
	struct frame f;
	size_t seen = 0;
	int r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
		return 0;
	struct frame_in *in = frame_in_new(ends[1]);
	/* What does not fit is cut: also an input. */
	if (size)
		(void)!send(ends[0], data, size, MSG_NOSIGNAL);
	(void)close(ends[0]);
	while ((r = frame_in_next(in, &f)) == 1) {
		check(f.nfds == 0); /* none were sent */
		seen += f.payload.n;
	}
	check(r < 0 && seen <= size);
	frame_in_free(in);
	(void)close(ends[1]);
	return 0;
}
