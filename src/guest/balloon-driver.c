/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/balloon-driver.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/epoll.h>

#include "balloon.skel.h"
#include "base/cleanup.h"
#include "guest/loader.h"

struct balloon_driver {
	struct balloon_bpf *skel;
	struct ring_buffer *ring;
	int epoll;
};

static int news_take(void *userdata, void *data, size_t size)
{
	(void)userdata;
	(void)data;
	(void)size;
	return 0;
}

static int news_open(struct balloon_driver *d)
{
	int fd = bpf_map__fd(d->skel->maps.news);
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };

	d->ring = ring_buffer__new(fd, news_take, d, NULL);
	d->epoll = d->ring ? epoll_create1(EPOLL_CLOEXEC) : -1;
	if (d->epoll < 0 || epoll_ctl(d->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return 0;
}

int balloon_driver_open(struct balloon_driver **ret, char *ret_reason, size_t reason_size)
{
	struct balloon_driver *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	loader_begin();
	d->epoll = -1;
	d->skel = balloon_bpf__open_and_load();
	r = d->skel ? news_open(d) : -errno;
	if (r >= 0)
		r = balloon_bpf__attach(d->skel);
	if (r < 0) {
		loader_reason(-r, "balloon", ret_reason, reason_size);
		balloon_driver_close(d);
		return r;
	}
	*ret = d;
	return 0;
}

struct balloon_driver *balloon_driver_close(struct balloon_driver *d)
{
	if (!d)
		return NULL;
	ring_buffer__free(d->ring);
	close_p(&d->epoll);
	balloon_bpf__destroy(d->skel);
	free(d);
	return NULL;
}

int balloon_driver_fd(const struct balloon_driver *d)
{
	return d->epoll;
}

struct balloon_state balloon_driver_look(struct balloon_driver *d)
{
	struct epoll_event event;

	(void)epoll_wait(d->epoll, &event, 1, 0);
	(void)ring_buffer__consume(d->ring);
	return *(const volatile struct balloon_state *)&d->skel->bss->state;
}

void balloon_driver_heed(struct balloon_driver *d, int is_heeded)
{
	__atomic_store_n(&d->skel->bss->state.is_heeded, is_heeded != 0, __ATOMIC_RELAXED);
}
