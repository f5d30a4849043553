#include "worker/linkgroup.h"

#include "base/mem.h"
#include "worker/former.h"

struct inode_ref {
	uint64_t dev, ino;
	uint32_t part;
};

static int compare_inodes(const void *va, const void *vb)
{
	const struct inode_ref *a = va, *b = vb;

	if (a->dev != b->dev)
		return a->dev < b->dev ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->part < b->part ? -1 : a->part > b->part;
}

void linkgroup_number(struct cargo *c, struct session_entry *entries)
{
	autofree struct inode_ref *refs = mem_array(c->listed_n + 1, sizeof(*refs));
	size_t n = 0;
	uint64_t group = 0;

	for (size_t i = 0; i < c->listed_n; i++) {
		const struct part *part = &c->parts[c->listed[i]];

		if (former_is_linked(c, part))
			refs[n++] = (struct inode_ref){part->fp.dev, part->fp.ino, c->listed[i]};
	}
	qsort(refs, n, sizeof(*refs), compare_inodes);
	for (size_t i = 1; i < n; i++) {
		if (refs[i].dev != refs[i - 1].dev || refs[i].ino != refs[i - 1].ino)
			continue;
		if (!c->parts[refs[i - 1].part].group)
			c->parts[refs[i - 1].part].group = ++group;
		c->parts[refs[i].part].group = group;
	}
	for (size_t i = 0; i < c->listed_n; i++)
		entries[i].link_group = c->parts[c->listed[i]].group;
}
