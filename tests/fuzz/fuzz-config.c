/* SPDX-License-Identifier: Apache-2.0 */
/* The text of configuration files, read as a guest's and as the daemon's. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "host/config.h"
#include "host/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has_error(const struct config_messages *messages)
{
	for (size_t i = 0; i < messages->n_items; i++)
		if (messages->items[i].error)
			return true;
	return messages->n_items == CONFIG_MESSAGES_MAX;
}

static void check_vm(const struct config_vm *vm)
{
	char text[128];
	struct url url;

	if (config_check_name(vm->name) < 0 || config_check_name(vm->domain) < 0 ||
	    url_check_path(vm->qmp, NULL) < 0)
		abort();
	if (url_format(&vm->agent, text, sizeof(text)) < 0)
		abort();
	if (vm->agent.scheme != URL_NONE &&
	    (url_parse(text, &url, NULL) < 0 || strcmp(url.path, vm->agent.path) != 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config_messages messages = { 0 };
	struct config config = { 0 };
	struct config_vm vm;
	int r;

	if (size > CONFIG_FILE_MAX)
		return 0;
	r = config_parse_vm("vms.d/a.conf", (const char *)data, size, &vm, &messages);
	if (r == 0)
		check_vm(&vm);
	else if (r != -EINVAL || !has_error(&messages))
		abort();
	config_messages_done(&messages);
	r = config_parse_main("pagepact.conf", (const char *)data, size, &config, &messages);
	for (size_t i = 0; i < config.public_images.n_items; i++)
		if (config.public_images.items[i][0] != '/')
			abort();
	if (r < 0 && (r != -EINVAL || !has_error(&messages) || config.public_images.n_items > 0))
		abort();
	config_done(&config);
	config_messages_done(&messages);
	return 0;
}
