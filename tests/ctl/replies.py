# SPDX-License-Identifier: Apache-2.0
"""Replies as pagepactd gives them: docs of the control protocol, in a form that runs."""
MIB = 1 << 20

AGENT = {"state": "live", "reason": None, "version": "0.1.0", "kernel": "6.1.0-28-amd64",
         "boot_id": "5f0c", "clears_pages": True, "scan_age_usec": 1500000}
CENSUS = {"free_bytes": 100 * MIB, "anonymous_bytes": 50 * MIB, "shmem_bytes": 1 * MIB,
          "mapped_file_bytes": 20 * MIB, "unmapped_clean_bytes": 400 * MIB,
          "unmapped_dirty_bytes": 2 * MIB, "slab_bytes": 30 * MIB, "other_bytes": 10 * MIB,
          "placed_bytes": 390 * MIB, "unplaced_bytes": 10 * MIB, "superpages": 512,
          "superpages_reclaimable": 262, "superpages_spoiled": 40}
REPORT = {"limit_bytes": 128 * MIB, "limit_origin": "host", "limit_state": "kept", "unmapped_bytes": 140 * MIB,
          "brake": "none", "brake_left_usec": 0, "brakes": 2, "heat": "get_pages", "evicted_bytes": 900 * MIB,
          "refaulted_bytes": 3 * MIB, "slab_freed_bytes": 0, "slab_pressed_bytes": 0, "cpu_usec": 5000,
          "events_lost": 0, "evicted_by_age_bytes": [0] * 8, "refaulted_by_age_bytes": [0] * 8, "age_usec": 4000000,
          "hint": "cache", "hint_origin": "host", "inflation_seen_by": "driver", "balloon_held_bytes": 512 * MIB,
          "inflate_left_bytes": 64 * MIB, "inflations": 3, "evicted_ahead_bytes": 96 * MIB}
STATUS = {
    "host": {"memory_total_bytes": 24 << 30, "memory_free_bytes": 20 << 30,
             "memory_available_bytes": 22 << 30, "page_cache_bytes": 1500 * MIB,
             "pressure_some_avg10_permille": 13},
    "daemon": {"version": "0.1.0", "rss_bytes": 5 * MIB, "uptime_usec": 300000000,
               "dry_run": False},
    "vms": [
        {"name": "alpha", "state": "running", "reason": None, "act": True, "domain": "alpha",
         "memory_bytes": 1024 * MIB, "host_resident_bytes": 900 * MIB, "balloon_bytes": 1024 * MIB, "set_up": "reporting",
         "agent": AGENT, "census": CENSUS, "duplicate_bytes": 311 * MIB,
         "cache_limit": {"text": "12.5%", "source": "command"}, "hint": {"text": "cache", "source": "command"},
         "report": REPORT, "warnings": []},
        {"name": "beta", "state": "busy", "reason": "the QMP socket has another client",
         "act": False, "domain": "beta", "memory_bytes": 1024 * MIB, "host_resident_bytes": None,
         "balloon_bytes": None, "set_up": None, "agent": None, "census": None, "duplicate_bytes": None,
         "cache_limit": {"text": None, "source": None}, "hint": {"text": None, "source": None}, "report": None,
         "warnings": ["no QMP"], "balloon": {"bytes": 500 * MIB, "size_bytes": 700 * MIB, "memory_bytes": 1024 * MIB, "notes": ["no device"],
                                            "original_bytes": 1024 * MIB, "target_bytes": 700 * MIB, "resize": None,
                                            "hands_off_left_usec": None, "quarantine_left_usec": 300_000_000}}],
    "images": [{"path": "/images/base.raw", "device": 1, "inode": 2, "size_bytes": 2048 * MIB,
                "resident_bytes": 450 * MIB, "trim": "allowed", "users": ["alpha", "beta"]}],
    "set_ups": [{"set_up": "reporting", "guests": 1, "text": "by reporting; more would come by superpages"},
                {"set_up": "pages", "guests": 2, "text": "by the balloon"}]}
DUP = {
    "taken_usec": 1200000,
    "images": [{"path": "/images/base.raw", "resident_bytes": 450 * MIB, "cached_bytes": 500 * MIB,
                "copies_bytes": 1150 * MIB, "duplicate_bytes": 311 * MIB,
                "holders": [11 * MIB, 300 * MIB]}],
    "vms": [{"name": "alpha", "cached_bytes": 422 * MIB, "placed_bytes": 390 * MIB,
             "unplaced_bytes": 32 * MIB, "duplicate_bytes": 311 * MIB,
             "evictable_duplicate_bytes": 305 * MIB,
             "unplaced_reasons": {"no file system that is known": 32 * MIB, "encrypted": 0}}],
    "totals": {"cached_bytes": 500 * MIB, "copies_bytes": 1150 * MIB, "duplicate_bytes": 311 * MIB,
               "copy_factor_permille": 2305}}
FILES = [{"vm": "alpha", "path": "/usr/bin/perl", "device": 1, "inode": 7, "cached_bytes": 4 * MIB,
          "duplicate_bytes": 3 * MIB, "mapped_bytes": 0}]
ORDER = {"id": 17, "round": 3, "vm": "alpha", "image": "/images/base.raw", "step": 2,
         "action": "evict", "asked_bytes": 300 * MIB, "done_bytes": 290 * MIB,
         "kept": {"mapped": 8 * MIB, "dirty": 0, "hot": 2 * MIB, "gone": 0, "partial": 0,
                  "failed": 0},
         "reason": "the host holds it too", "usec": 52000}
TRIM = dict(ORDER, id=18, vm=None, step=1, action="trim")
RECLAIM = {"orders": [ORDER, TRIM], "evicted_bytes": 290 * MIB, "trimmed_bytes": 290 * MIB,
           "host_returned_bytes": 280 * MIB, "dry_run": False, "refused": []}
EXPLAIN = {"order": ORDER, "inputs": {"host_free_bytes": 5 * MIB, "pressure_permille": 13,
                                      "holders": ["alpha", "beta"], "why": "a\u001b[2Jb"},
           "text": ["order 17: evict 300 MiB in alpha", "the host's copy was re-read before"]}
CACHE_LIMIT = {"vm": "alpha", "cache_limit": {"text": "134217728", "source": "command"}, "report": REPORT,
               "checked": None, "note": None, "dry_run": False}
HINT = {"vm": "alpha", "hint": {"text": "cache", "source": "command"}, "report": REPORT, "checked": None,
        "note": None, "dry_run": False}
FREE = {"vm": "alpha", "order": 18, "asked_bytes": 512 * MIB, "freed_bytes": 400 * MIB,
        "steps": [{"step": "free", "bytes": 100 * MIB}, {"step": "slab", "bytes": 4096},
                  {"step": "cold", "bytes": 400 * MIB}],
        "stopped": "braked", "brake": "memory", "messages": 3, "host_returned_bytes": 390 * MIB, "usec": 5200000,
        "error": None, "dry_run": False}
BALLOON = {"vm": "alpha", "order": 19, "asked_bytes": 512 * MIB, "original_bytes": 1024 * MIB, "from_bytes": 1024 * MIB,
           "actual_bytes": 512 * MIB, "target_bytes": 512 * MIB, "floor_bytes": 200 * MIB, "floor_source": "agent",
           "cache": "first", "by": "auto", "agent": True, "state": "reached", "reason": "done", "evicted_bytes": 400 * MIB,
           "unplugged_bytes": 0,
           "host_returned_bytes": 500 * MIB, "steps": 2, "usec": 4200000, "dry_run": False, "notes": []}
ATTACH = {"name": "alpha", "agent": "serial:/run/a.sock", "added_port": False,
          "advice": ["-device virtio-serial-pci", "<channel type='unix'/>"]}
