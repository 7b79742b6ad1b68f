/* SPDX-License-Identifier: Apache-2.0 */
/* The stable, snake_case names of values. */
#include "wire/message.h"

const char *wire_unplaced_name(unsigned reason)
{
	static const char *const names[WIRE_UNPLACED_REASONS] = {
		[WIRE_PLACED] = "placed",
		[WIRE_UNPLACED_FILE_SYSTEM] = "file_system",
		[WIRE_UNPLACED_DEVICE] = "device",
		[WIRE_UNPLACED_GONE] = "gone",
		[WIRE_UNPLACED_ENCODED] = "encoded",
		[WIRE_UNPLACED_ALIGNMENT] = "alignment",
		[WIRE_UNPLACED_LEASED] = "leased",
		[WIRE_UNPLACED_WRITE_ERROR] = "write_error",
		[WIRE_UNPLACED_LIMIT] = "limit",
		[WIRE_UNPLACED_FAILED] = "failed",
	};

	return reason < WIRE_UNPLACED_REASONS ? names[reason] : "unknown";
}

const char *wire_origin_name(unsigned origin)
{
	static const char *const names[WIRE_ORIGINS] = {
		[WIRE_ORIGIN_NONE] = "none",	 [WIRE_ORIGIN_FILE] = "file",
		[WIRE_ORIGIN_SMBIOS] = "smbios", [WIRE_ORIGIN_CMDLINE] = "cmdline",
		[WIRE_ORIGIN_HOST] = "host",
	};

	return origin < WIRE_ORIGINS ? names[origin] : "unknown";
}

const char *wire_state_name(unsigned state)
{
	static const char *const names[WIRE_STATES] = {
		[WIRE_STATE_OFF] = "off",   [WIRE_STATE_UNDER] = "under",
		[WIRE_STATE_OVER] = "over", [WIRE_STATE_BRAKED] = "braked",
		[WIRE_STATE_KEPT] = "kept", [WIRE_STATE_CANNOT] = "cannot",
	};

	return state < WIRE_STATES ? names[state] : "unknown";
}

const char *wire_brake_name(unsigned brake)
{
	static const char *const names[WIRE_BRAKES] = {
		[WIRE_BRAKE_NONE] = "none",   [WIRE_BRAKE_MEMORY] = "memory",
		[WIRE_BRAKE_IO] = "io",	      [WIRE_BRAKE_REFAULT] = "refault",
		[WIRE_BRAKE_QUOTA] = "quota",
	};

	return brake < WIRE_BRAKES ? names[brake] : "unknown";
}

const char *wire_heat_name(unsigned heat)
{
	static const char *const names[WIRE_HEATS] = {
		[WIRE_HEAT_NONE] = "none",
		[WIRE_HEAT_ACCESSED] = "accessed",
		[WIRE_HEAT_GET_PAGES] = "get_pages",
	};

	return heat < WIRE_HEATS ? names[heat] : "unknown";
}

const char *wire_step_name(unsigned step)
{
	static const char *const names[WIRE_STEPS] = {
		[WIRE_STEP_FREE] = "free", [WIRE_STEP_SLAB] = "slab",
		[WIRE_STEP_HELD] = "held", [WIRE_STEP_SUPERPAGE] = "superpage",
		[WIRE_STEP_COLD] = "cold",
	};

	return step < WIRE_STEPS ? names[step] : "unknown";
}

const char *wire_stopped_name(unsigned stopped)
{
	static const char *const names[WIRE_STOPPEDS] = {
		[WIRE_STOPPED_DONE] = "done",
		[WIRE_STOPPED_NOTHING_LEFT] = "nothing_left",
		[WIRE_STOPPED_TIME] = "time",
		[WIRE_STOPPED_BRAKED] = "braked",
	};

	return stopped < WIRE_STOPPEDS ? names[stopped] : "unknown";
}

const char *wire_hint_name(unsigned hint)
{
	static const char *const names[WIRE_HINTS] = {
		[WIRE_HINT_GUEST] = "default",
		[WIRE_HINT_NONE] = "none",
		[WIRE_HINT_CACHE] = "cache",
	};

	return hint < WIRE_HINTS ? names[hint] : "unknown";
}

const char *wire_notice_name(unsigned notice)
{
	static const char *const names[WIRE_NOTICES] = {
		[WIRE_NOTICE_NONE] = "none",
		[WIRE_NOTICE_DRIVER] = "driver",
		[WIRE_NOTICE_COUNTER] = "counter",
	};

	return notice < WIRE_NOTICES ? names[notice] : "unknown";
}

const char *wire_untaken_name(unsigned untaken)
{
	static const char *const names[WIRE_UNTAKENS] = {
		[WIRE_UNTAKEN_NONE] = "none",	      [WIRE_UNTAKEN_SCARCE] = "scarce",
		[WIRE_UNTAKEN_TIME] = "time",	      [WIRE_UNTAKEN_HUGETLB] = "hugetlb",
		[WIRE_UNTAKEN_PRESSURE] = "pressure", [WIRE_UNTAKEN_SILENCE] = "silence",
		[WIRE_UNTAKEN_FAILED] = "failed",
	};

	return untaken < WIRE_UNTAKENS ? names[untaken] : "unknown";
}
