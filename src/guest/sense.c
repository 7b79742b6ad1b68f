/* SPDX-License-Identifier: Apache-2.0 */
#include "guest/sense.h"

#include <bpf/libbpf.h>
#include <pthread.h>
#include <signal.h>

#include "base/cleanup.h"
#include "base/clock.h"

struct sense {
	struct bpf_program *program;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* Under the lock. */
	bool wanted;
	bool ending;
	bool attached;
	int error;	     /* read without it by sense_error() */
	uint64_t since_usec; /* 0: not attached, or on its way in or out */
	/* The thread's own. */
	struct bpf_link *link;
};

/* Not under the lock: both wait for the kernel. */
static int sense_switch(struct sense *s, bool on)
{
	if (on) {
		s->link = bpf_program__attach(s->program);
		return s->link ? 0 : -errno;
	}
	bpf_link__destroy(s->link);
	s->link = NULL;
	return 0;
}

static void sense_turn(struct sense *s, bool on)
{
	s->since_usec = 0;
	pthread_mutex_unlock(&s->lock);
	int r = sense_switch(s, on);
	pthread_mutex_lock(&s->lock);
	if (r < 0) {
		__atomic_store_n(&s->error, r, __ATOMIC_RELAXED);
		s->wanted = false;
		return;
	}
	s->attached = on;
	s->since_usec = on ? now_usec() : 0;
}

static void *sense_thread(void *userdata)
{
	struct sense *s = userdata;

	pthread_mutex_lock(&s->lock);
	while (!s->ending || s->attached) {
		if ((s->wanted && !s->ending) != s->attached)
			sense_turn(s, !s->attached);
		else
			pthread_cond_wait(&s->changed, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* Signals are the main thread's. */
static int thread_start(struct sense *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&s->thread, NULL, sense_thread, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -r;
}

int sense_open(struct sense **ret, struct bpf_program *program)
{
	struct sense *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->program = program;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	r = thread_start(s);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

struct sense *sense_close(struct sense *s)
{
	if (!s)
		return NULL;
	pthread_mutex_lock(&s->lock);
	s->ending = true;
	pthread_cond_signal(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	free(s);
	return NULL;
}

int sense_want(struct sense *s, bool on)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->error;
	if (r >= 0) {
		s->wanted = on;
		pthread_cond_signal(&s->changed);
	}
	pthread_mutex_unlock(&s->lock);
	return r;
}

int sense_error(const struct sense *s)
{
	return __atomic_load_n(&s->error, __ATOMIC_RELAXED);
}

int sense_state(struct sense *s, uint64_t *ret_since_ns)
{
	int r;

	pthread_mutex_lock(&s->lock);
	*ret_since_ns = s->since_usec * 1000;
	r = s->error < 0 ? s->error : s->since_usec != 0;
	pthread_mutex_unlock(&s->lock);
	return r;
}
