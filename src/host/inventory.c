/* SPDX-License-Identifier: Apache-2.0 */
#include "host/inventory.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "host/inventory-build.h"

struct inventory_query {
	struct qmp *qmp;
	uint64_t command; /* outstanding; 0: none */
	uint64_t deadline_usec;
	struct inventory_build *build;
	inventory_done_fn *done;
	inventory_blockstats_fn *stats_done;
	void *userdata;
};

struct inventory_query *inventory_query_free(struct inventory_query *query)
{
	if (!query)
		return NULL;
	if (query->command)
		qmp_cancel(query->qmp, query->command);
	inventory_build_free(query->build);
	free(query);
	return NULL;
}

static void query_freep(struct inventory_query **query)
{
	*query = inventory_query_free(*query);
}

static int ask(struct inventory_query *query);

static void finish(struct inventory_query *query, int result)
{
	struct inventory *inventory = NULL;

	if (result == 0)
		inventory = TAKE_PTR(query->build->inventory);
	query->done(result, inventory, query->userdata);
}

static void answered(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct inventory_query *query = userdata;
	int r = reply->result;

	(void)qmp;
	query->command = 0;
	if (r == 0)
		inventory_build_answer(query->build, reply->value);
	else if (r == -EREMOTEIO)
		inventory_build_refusal(query->build, reply->error_class, reply->error);
	if (r == 0 || r == -EREMOTEIO)
		r = ask(query);
	if (r <= 0)
		finish(query, r);
}

/* Return: 1 when an answer is awaited, 0 when there is nothing left to ask. */
static int ask(struct inventory_query *query)
{
	const char *command;
	json_t *arguments;
	int r;

	r = inventory_build_next(query->build, &command, &arguments);
	if (r <= 0)
		return r;
	r = qmp_command(query->qmp, command, arguments, query->deadline_usec, answered, query,
			&query->command);
	return r < 0 ? r : 1;
}

int inventory_query(struct qmp *qmp, uint64_t deadline_usec, inventory_done_fn *done,
		    void *userdata, struct inventory_query **ret)
{
	_cleanup_(query_freep) struct inventory_query *query = calloc(1, sizeof(*query));
	int r;

	if (!query)
		return -ENOMEM;
	*query = (struct inventory_query){
		.qmp = qmp,
		.deadline_usec = deadline_usec,
		.build = inventory_build_new(),
		.done = done,
		.userdata = userdata,
	};
	if (!query->build)
		return -ENOMEM;
	r = ask(query);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(query);
	return 0;
}

static void stats_answered(struct qmp *qmp, const struct qmp_reply *reply, void *userdata)
{
	struct inventory_query *query = userdata;
	struct inventory_blockstats stats;

	(void)qmp;
	query->command = 0;
	if (reply->result < 0) {
		query->stats_done(reply->result, NULL, query->userdata);
		return;
	}
	build_blockstats(reply->value, &stats);
	query->stats_done(0, &stats, query->userdata);
}

int inventory_blockstats(struct qmp *qmp, uint64_t deadline_usec, inventory_blockstats_fn *done,
			 void *userdata, struct inventory_query **ret)
{
	_cleanup_(query_freep) struct inventory_query *query = calloc(1, sizeof(*query));
	int r;

	if (!query)
		return -ENOMEM;
	query->qmp = qmp;
	query->stats_done = done;
	query->userdata = userdata;
	r = qmp_command(qmp, "query-blockstats", NULL, deadline_usec, stats_answered, query,
			&query->command);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(query);
	return 0;
}
