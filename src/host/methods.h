/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of the control socket. */
#ifndef PAGEPACT_HOST_METHODS_H
#define PAGEPACT_HOST_METHODS_H

#include "host/control.h"

/** methods_handle() - control_handle_fn; @userdata: the manager */
void methods_handle(struct call *call, const char *method, json_t *parameters, void *userdata);

#endif
