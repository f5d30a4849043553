#include "daemon/runtime.h"

void verify_begin(struct instance *in, const struct control_request *request,
                  struct control_reply *reply)
{
	(void)in;
	(void)request;
	control_reply_error(reply, 409, "only `lockstep verify --repair` is there");
}
