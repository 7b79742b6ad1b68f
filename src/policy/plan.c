/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/plan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

const char *plan_action_name(enum plan_action action)
{
	return action == PLAN_TRIM ? "trim" : "evict";
}

void plan_done(struct plan *plan)
{
	for (size_t i = 0; i < plan->n_orders; i++)
		blockset_free(plan->orders[i].blocks);
	free(plan->orders);
	free(plan->refusals);
	*plan = (struct plan){};
}

uint64_t plan_bytes(const struct plan *plan, enum plan_action action)
{
	uint64_t blocks = 0;

	for (size_t i = 0; i < plan->n_orders; i++)
		if (plan->orders[i].action == action)
			blocks += plan->orders[i].n_blocks;
	return blocks * BLOCK_BYTES;
}

/* Room for one item more: the array doubles whenever its length is a power of two. */
static void *array_grow(void *array, size_t n, size_t item_bytes)
{
	if (n & (n - 1))
		return array;
	return reallocarray(array, n ? n * 2 : 1, item_bytes);
}

int plan_add_order(struct plan *plan, const struct plan_order *order)
{
	struct plan_order *orders = array_grow(plan->orders, plan->n_orders, sizeof(*orders));

	if (!orders) {
		blockset_free(order->blocks);
		return -ENOMEM;
	}
	plan->orders = orders;
	orders[plan->n_orders++] = *order;
	return 0;
}

/* Takes the beginning of a character from the end of a text that had to be cut: keep it UTF-8. */
static void text_cut(char *text, size_t length)
{
	size_t end = length;

	while (end > 0 && (text[end - 1] & 0xc0) == 0x80)
		end--;
	if (end > 0 && (text[end - 1] & 0x80))
		text[end - 1] = '\0';
}

int plan_add_refusal(struct plan *plan, size_t guest, size_t image, enum plan_step step,
		     const char *format, ...)
{
	struct plan_refusal *refusals =
		array_grow(plan->refusals, plan->n_refusals, sizeof(*refusals));
	va_list args;

	if (!refusals)
		return -ENOMEM;
	plan->refusals = refusals;

	struct plan_refusal *refusal = &refusals[plan->n_refusals++];

	*refusal = (struct plan_refusal){ .guest = guest, .image = image, .step = step };
	va_start(args, format);
	if (vsnprintf(refusal->reason, sizeof(refusal->reason), format, args) >=
	    (int)sizeof(refusal->reason))
		text_cut(refusal->reason, sizeof(refusal->reason) - 1);
	va_end(args);
	return 0;
}
