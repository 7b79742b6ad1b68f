/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has to hold in every world: random ones, the same on every machine. A failing seed is
 * named; set it as the first of a loop to look at it alone.
 */
#include "policy-test.h"

#include "base/cleanup.h"

#define _cleanup_world_ _cleanup_(world_done)
#define _cleanup_plan_	_cleanup_(plan_done)
#define _cleanup_set_	_cleanup_(blockset_freep)

#define SEEDS	   2000
#define BLOCKS	   40
#define ROUNDS_MAX 3000

struct canvas {
	char host[WORLD_IMAGES][BLOCKS + 1];
	char cache[WORLD_GUESTS][WORLD_IMAGES][BLOCKS + 1];
	struct image_drawing images[WORLD_IMAGES];
	struct guest_drawing guests[WORLD_GUESTS];
};

/* Runs of one character each, as caches are. */
static char *scribble(struct dice *dice, const char *chars, char *text)
{
	uint32_t n = (uint32_t)strlen(chars);
	char c = chars[dice_roll(dice, n)];

	for (size_t i = 0; i < BLOCKS; i++) {
		if (dice_roll(dice, 4) == 0)
			c = chars[dice_roll(dice, n)];
		text[i] = c;
	}
	text[BLOCKS] = '\0';
	return text;
}

static void canvas_random(struct canvas *c, struct dice *dice)
{
	static const char *const names[WORLD_GUESTS] = { "a", "b", "c", "d", "e", "f" };
	static const char *const paths[WORLD_IMAGES] = { "p", "q", "r", "s", "t", "u" };
	static const char *const domains[] = { "red", "red", "blue", NULL };
	size_t n_images = 1 + dice_roll(dice, WORLD_IMAGES);
	size_t n_guests = 1 + dice_roll(dice, WORLD_GUESTS);

	*c = (struct canvas){};
	for (size_t i = 0; i < n_images; i++)
		c->images[i] = (struct image_drawing){
			.path = paths[i],
			.host = dice_roll(dice, 12) ? scribble(dice, "x.x", c->host[i]) : NULL,
			.is_public = dice_roll(dice, 3) == 0,
			.trim_refusal = dice_roll(dice, 5) ? NULL : "in use",
			.order_refusal = dice_roll(dice, 12) ? NULL : "not settled",
		};
	for (size_t g = 0; g < n_guests; g++) {
		c->guests[g] = (struct guest_drawing){
			.name = names[g],
			.domain = domains[dice_roll(dice, ARRAY_SIZE(domains))],
			.observe = dice_roll(dice, 6) == 0,
			.silent = dice_roll(dice, 10) == 0,
			.order_refusal = dice_roll(dice, 10) ? NULL : "paused",
		};
		for (size_t i = 0; i < n_images; i++)
			if (dice_roll(dice, 5) < 3)
				c->guests[g].cache[i] =
					dice_roll(dice, 20)
						? scribble(dice, "..muwcc", c->cache[g][i])
						: "?";
	}
}

static void config_random(struct world *w, struct dice *dice)
{
	if (dice_roll(dice, 2))
		w->config.round_domain_bytes = (4 + dice_roll(dice, 30)) * BLOCK_BYTES;
	if (dice_roll(dice, 2))
		w->config.round_guest_bytes = (4 + dice_roll(dice, 30)) * BLOCK_BYTES;
	if (dice_roll(dice, 2))
		w->config.delay_usec = dice_roll(dice, 100000);
	if (dice_roll(dice, 4) == 0)
		w->config.min_run_blocks = dice_roll(dice, 6);
	/* Worlds of many rounds: nothing is to lapse while they run. */
	w->config.owed_usec = UINT64_MAX / 2;
}

static struct blockset *world_union(const struct world *w, size_t image)
{
	struct blockset *all = blockset_new();

	assert_non_null(all);
	if (w->resident[image])
		blockset_or_with(all, w->resident[image]);
	for (size_t g = 0; g < WORLD_GUESTS; g++)
		if (w->held[image][g])
			blockset_or_with(all, w->held[image][g]);
	return all;
}

static bool is_subset(const struct blockset *a, const struct blockset *b)
{
	return blockset_and_count(a, b) == blockset_count(a);
}

/* Where the policy may act without limits, it stops only when there is nothing left to do. */
static void assert_exhausted(const struct world *w, size_t image, const struct blockset *given)
{
	const struct snapshot_image *shot = &w->images[image];
	size_t n;
	const struct snapshot_holding *users = snapshot_holdings(&w->snapshot, image, &n);

	if (!w->resident[image] || shot->trim_refusal || shot->order_refusal ||
	    w->config.min_run_blocks > 1)
		return;
	for (size_t i = 0; i < n; i++)
		if (!users[i].held || !w->guests[users[i].guest].agent_live ||
		    (!shot->is_public &&
		     !snapshot_same_domain(&w->guests[users[0].guest], &w->guests[users[i].guest])))
			return;
	for (size_t block = 0; block < BLOCKS; block++) {
		size_t holders = 0, actors = 0, evictable = 0;

		for (size_t i = 0; i < n; i++) {
			const struct snapshot_guest *guest = &w->guests[users[i].guest];
			bool acts = guest->act && !guest->order_refusal;

			holders += blockset_contains(users[i].held, block);
			actors += acts && blockset_contains(users[i].held, block);
			evictable += acts && blockset_contains(users[i].evictable, block);
		}
		if (!blockset_contains(w->resident[image], block))
			continue;
		if (holders == 1 && actors == 1)
			assert_true(blockset_contains(given, block));
		if (holders > 1)
			assert_int_equal(evictable, 0);
	}
}

struct fixpoint {
	struct blockset *all[WORLD_IMAGES];
	struct blockset *given[WORLD_IMAGES]; /* evicted by guests */
	struct blockset *observed[WORLD_IMAGES][WORLD_GUESTS];
};

static void fixpoint_start(struct fixpoint *f, const struct world *w)
{
	*f = (struct fixpoint){};
	for (size_t i = 0; i < WORLD_IMAGES; i++) {
		f->all[i] = world_union(w, i);
		f->given[i] = blockset_new();
		for (size_t g = 0; g < w->snapshot.n_guests; g++)
			if (w->held[i][g] && !w->guests[g].act)
				f->observed[i][g] = blockset_copy(w->held[i][g]);
	}
}

static void fixpoint_done(struct fixpoint *f)
{
	for (size_t i = 0; i < WORLD_IMAGES; i++) {
		blockset_free(f->all[i]);
		blockset_free(f->given[i]);
		for (size_t g = 0; g < WORLD_GUESTS; g++)
			blockset_free(f->observed[i][g]);
	}
}

static void fixpoint_assert(const struct fixpoint *f, const struct world *w)
{
	for (size_t i = 0; i < WORLD_IMAGES; i++) {
		_cleanup_set_ struct blockset *all = world_union(w, i);

		assert_true(blockset_equal(all, f->all[i]));
		/* A read of what a guest gave up is served from memory. */
		if (w->resident[i])
			assert_true(is_subset(f->given[i], w->resident[i]));
		for (size_t g = 0; g < WORLD_GUESTS; g++)
			if (f->observed[i][g])
				assert_true(blockset_equal(w->held[i][g], f->observed[i][g]));
	}
}

static void test_fixpoint(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		_cleanup_world_ struct world w;
		_cleanup_(fixpoint_done) struct fixpoint f;
		struct dice dice = dice_new(seed);
		struct canvas canvas;
		size_t rounds = 0;

		canvas_random(&canvas, &dice);
		world_draw(&w, canvas.images, canvas.guests);
		config_random(&w, &dice);
		fixpoint_start(&f, &w);
		for (bool more = true; more; rounds++) {
			_cleanup_plan_ struct plan plan = {};

			if (rounds == ROUNDS_MAX)
				fail_msg("seed %zu goes on for ever", (size_t)seed);
			world_decide(&w, &plan);
			world_apply(&w, &plan);
			for (size_t i = 0; i < plan.n_orders; i++)
				if (plan.orders[i].action == PLAN_EVICT)
					blockset_or_with(f.given[plan.orders[i].image],
							 plan.orders[i].blocks);
			fixpoint_assert(&f, &w);
			more = plan.n_orders > 0 || plan.retry_usec;
			world_pass(&w, 20000);
		}
		for (size_t i = 0; i < w.snapshot.n_images; i++)
			assert_exhausted(&w, i, f.given[i]);
	}
}

/* Agents that do as they like: part of what was asked, reads in between, more evictions. */
static void test_unruly_guests(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		_cleanup_world_ struct world w;
		struct dice dice = dice_new(seed + 1000000);
		struct canvas canvas;

		canvas_random(&canvas, &dice);
		world_draw(&w, canvas.images, canvas.guests);
		config_random(&w, &dice);
		for (size_t round = 0; round < 12; round++) {
			_cleanup_plan_ struct plan plan = {};

			world_decide(&w, &plan);
			for (size_t k = 0; k < plan.n_orders; k++) {
				const struct plan_order *order = &plan.orders[k];
				_cleanup_set_ struct blockset *done = blockset_copy(order->blocks);
				uint32_t cut = dice_roll(&dice, BLOCKS);

				assert_int_equal(blockset_remove(done, cut, BLOCKS - cut), 0);
				world_apply_blocks(&w, order, done);
			}
			for (size_t i = 0; i < w.snapshot.n_images; i++) {
				size_t g = dice_roll(&dice, WORLD_GUESTS);
				uint32_t block = dice_roll(&dice, BLOCKS);

				/* A read leaves a copy in the guest and one in the host. */
				if (!w.held[i][g] || !w.resident[i])
					continue;
				assert_int_equal(blockset_add(w.held[i][g], block, 1), 0);
				assert_int_equal(blockset_add(w.resident[i], block, 1), 0);
			}
			world_pass(&w, dice_roll(&dice, 40000000) + 2);
		}
	}
}

/* Of two domains: red is guests 0 and 1, blue is 2 and 3, and 4 is alone. */
enum { RED_1, RED_2, BLUE_1, BLUE_2, LONER, N_GUESTS };
enum { IMAGE_RED, IMAGE_BLUE, IMAGE_PUBLIC, IMAGE_SHARED, IMAGE_RED_2, IMAGE_BLUE_2 };

static bool is_red(size_t guest)
{
	return guest == RED_1 || guest == RED_2;
}

/*
 * @fixed rolls what red may know: its own images and caches, and the public image. @free rolls all
 * else, of an image that both domains reach without it being public too.
 */
static void canvas_two_domains(struct canvas *c, struct dice *fixed, struct dice *loose)
{
	static const char *const names[] = { "red1", "red2", "blue1", "blue2", "loner" };
	static const char *const domains[] = { "red", "red", "blue", "blue", NULL };
	static const char *const paths[] = { "red", "blue", "public", "shared", "red2", "blue2" };
	static const bool reach[N_GUESTS][WORLD_IMAGES] = {
		[RED_1] = { true, false, true, true, true, false },
		[RED_2] = { true, false, true, true, false, false },
		[BLUE_1] = { false, true, true, true, false, true },
		[BLUE_2] = { false, true, false, true, false, true },
		[LONER] = { false, false, false, true, false, true },
	};

	*c = (struct canvas){};
	for (size_t i = 0; i < WORLD_IMAGES; i++) {
		bool known = i == IMAGE_RED || i == IMAGE_RED_2 || i == IMAGE_PUBLIC;
		struct dice *dice = known ? fixed : loose;

		c->images[i] = (struct image_drawing){
			.path = paths[i],
			.host = scribble(dice, "xx.", c->host[i]),
			.is_public = i == IMAGE_PUBLIC,
			.trim_refusal = dice_roll(dice, 4) ? NULL : "in use",
		};
	}
	for (size_t g = 0; g < N_GUESTS; g++) {
		/* Whether it can hold up public trims is public. */
		struct dice *dice = is_red(g) || reach[g][IMAGE_PUBLIC] ? fixed : loose;

		c->guests[g] = (struct guest_drawing){
			.name = names[g],
			.domain = domains[g],
			.observe = dice_roll(fixed, 8) == 0,
			.silent = dice_roll(dice, 8) == 0,
			.order_refusal = dice_roll(dice, 8) ? NULL : "paused",
		};
		for (size_t i = 0; i < WORLD_IMAGES; i++)
			if (reach[g][i] && i == IMAGE_PUBLIC)
				/* What blue has of it stays as it is: it has nothing to evict. */
				c->guests[g].cache[i] = scribble(
					fixed, is_red(g) ? ".muwcc" : "..m", c->cache[g][i]);
			else if (reach[g][i])
				c->guests[g].cache[i] = scribble(is_red(g) ? fixed : loose,
								 ".muwcc", c->cache[g][i]);
	}
}

/* Everything that red is told, and what is done to what it can see. */
static void red_text(const struct world *w, const struct plan *plan, char *text, size_t size)
{
	size_t at = 0;

	*text = '\0';
	for (size_t k = 0; k < plan->n_orders; k++) {
		const struct plan_order *order = &plan->orders[k];
		bool trim = order->action == PLAN_TRIM;

		if (trim ? order->image != IMAGE_RED && order->image != IMAGE_RED_2 &&
				    order->image != IMAGE_PUBLIC
			 : !is_red(order->guest))
			continue;
		order_text(w, order, text + at, size - at);
		at += strlen(text + at);
		at += (size_t)snprintf(text + at, size - at, " %s %lu %lu\n", order->reason,
				       (unsigned long)order->inputs.eligible,
				       (unsigned long)order->inputs.holders[1]);
		assert_true(at < size);
	}
}

static void behave(struct world *w, const struct plan *plan, struct dice *fixed, struct dice *loose)
{
	for (size_t k = 0; k < plan->n_orders; k++) {
		const struct plan_order *order = &plan->orders[k];
		bool red = order->action == PLAN_TRIM
				   ? order->image != IMAGE_BLUE && order->image != IMAGE_BLUE_2
				   : is_red(order->guest);
		_cleanup_set_ struct blockset *done = blockset_copy(order->blocks);
		uint32_t cut = dice_roll(red ? fixed : loose, BLOCKS);

		assert_int_equal(blockset_remove(done, cut, BLOCKS - cut), 0);
		world_apply_blocks(w, order, done);
	}
	for (size_t n = 0; n < 20; n++) {
		static const size_t images[] = { IMAGE_BLUE, IMAGE_SHARED, IMAGE_BLUE_2 };
		size_t i = images[dice_roll(loose, ARRAY_SIZE(images))];
		size_t g = BLUE_1 + dice_roll(loose, 3);
		uint32_t block = dice_roll(loose, BLOCKS);

		if (!w->held[i][g])
			continue;
		assert_int_equal(blockset_add(w->held[i][g], block, 1), 0);
		assert_int_equal(blockset_add(w->resident[i], block, 1), 0);
		if (dice_roll(loose, 2))
			assert_int_equal(blockset_add(w->evictable[i][g], block, 1), 0);
	}
}

/* One run of red's fixed part beside some behaviour of the others; all that red saw goes to @f. */
static size_t red_run(uint64_t seed, uint64_t behaviour, char *text, size_t size)
{
	_cleanup_world_ struct world w;
	struct dice fixed = dice_new(seed), loose = dice_new(behaviour);
	struct canvas canvas;
	size_t at = 0;

	canvas_two_domains(&canvas, &fixed, &loose);
	world_draw(&w, canvas.images, canvas.guests);
	config_random(&w, &fixed);
	if (dice_roll(&fixed, 2))
		w.request.bytes = dice_roll(&fixed, 40) * BLOCK_BYTES;
	for (size_t round = 0; round < 6; round++) {
		_cleanup_plan_ struct plan plan = {};

		world_decide(&w, &plan);
		red_text(&w, &plan, text + at, size - at);
		at += strlen(text + at);
		behave(&w, &plan, &fixed, &loose);
		world_pass(&w, dice_roll(&fixed, 200000) + 2);
	}
	return at;
}

/* Whatever another domain does, red's orders are the same, to the byte. */
static void test_non_interference(void **state)
{
	static char one[65536], other[65536];
	size_t bytes = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS / 2; seed++) {
		bytes += red_run(seed, seed + 5000, one, sizeof(one));
		(void)red_run(seed, seed + 700000, other, sizeof(other));
		if (strcmp(one, other) != 0)
			fail_msg("seed %zu:\n%s\nbut beside another neighbour:\n%s", (size_t)seed,
				 one, other);
	}
	/* Silence would be the same, too. */
	assert_true(bytes > SEEDS * 100);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fixpoint),
		cmocka_unit_test(test_unruly_guests),
		cmocka_unit_test(test_non_interference),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
