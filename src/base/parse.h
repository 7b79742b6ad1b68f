/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and sizes as people write them. */
#ifndef PAGEPACT_BASE_PARSE_H
#define PAGEPACT_BASE_PARSE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * parse_u64() - read an unsigned decimal number
 *
 * Digits only: no sign, no space, no other base.
 *
 * Return: 0; -EINVAL for anything else; -ERANGE above UINT64_MAX.
 */
int parse_u64(const char *text, uint64_t *ret_value);

/**
 * parse_size() - read a number of bytes: "N", or "N" and one of K, M, G, T (powers of 1024)
 *
 * The suffix may be in lower case. Fractions are refused: "1.5G" is "1536M".
 *
 * Return: as parse_u64().
 */
int parse_size(const char *text, uint64_t *ret_bytes);

/**
 * parse_bool() - yes or no; true, on, 1 and false, off, 0 are the same
 *
 * Return: 0 or -EINVAL.
 */
int parse_bool(const char *text, bool *ret);

enum limit_text_kind {
	LIMIT_TEXT_DEFAULT, /* "default", or nothing at all */
	LIMIT_TEXT_OFF,	    /* "off", or 0 */
	LIMIT_TEXT_BYTES,
	LIMIT_TEXT_PERMILLE, /* of a guest's memory */
};

/** struct limit_text - a page cache limit as people write it */
struct limit_text {
	enum limit_text_kind kind;
	uint32_t permille; /* 1 to 1000 with LIMIT_TEXT_PERMILLE, else 0 */
	uint64_t bytes;	   /* 1 to INT64_MAX with LIMIT_TEXT_BYTES, else 0 */
};

/**
 * limit_text_parse() - read SIZE (see parse_size()), "N%", "off", "default" or ""
 *
 * A percentage is more than 0 and at most 100, with up to one decimal.
 *
 * Return: 0; -EINVAL for anything else; -ERANGE for a size above INT64_MAX.
 */
int limit_text_parse(const char *text, struct limit_text *ret);

/* "off", "default", bytes, or "12.5%": what limit_text_parse() reads as the same limit. */
#define LIMIT_TEXT_SIZE 32
const char *limit_text_format(const struct limit_text *limit, char buffer[static LIMIT_TEXT_SIZE]);

enum size_text_kind {
	SIZE_TEXT_BYTES, /* "512M" */
	SIZE_TEXT_LESS,	 /* "-256M" */
	SIZE_TEXT_MORE,	 /* "+256M" */
	SIZE_TEXT_MAX,	 /* "max" */
};

/** struct size_text - a guest's size, or a change of it, as people write it */
struct size_text {
	enum size_text_kind kind;
	uint64_t bytes; /* 1 to INT64_MAX; 0 with SIZE_TEXT_MAX */
};

/**
 * size_text_parse() - read SIZE (see parse_size()), "-SIZE", "+SIZE" or "max"
 *
 * Return: 0; -EINVAL for anything else, and for 0; -ERANGE for a size above INT64_MAX.
 */
int size_text_parse(const char *text, struct size_text *ret);

/**
 * size_text_apply() - which size that is
 * @now_bytes: the size now
 * @max_bytes: what "max" stands for
 *
 * Return: 0; -ERANGE where it would be 0, negative or above INT64_MAX.
 */
int size_text_apply(const struct size_text *size, uint64_t now_bytes, uint64_t max_bytes,
		    uint64_t *ret_bytes);

#endif
