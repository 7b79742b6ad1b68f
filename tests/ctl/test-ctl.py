#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""pagepact against a daemon that is played: usage: test-ctl.py PAGEPACT [unittest arguments]."""
import copy
import json
import os
import pty
import resource
import socket
import subprocess
import sys
import tempfile
import time
import unittest

import replies
from fake_daemon import FakeDaemon, error, progress, reply

PAGEPACT = "pagepact"
DONE, FAILED, USAGE, UNREACHABLE, REFUSED = range(5)
ESCAPES = {"name": "e\u001b]0;x\u0007vil", "path": "/tmp/\u001b[2J\u009b31m\n\u202efdp.exe\\x1b"}


def environment(**extra):
    env = {k: v for k, v in os.environ.items() if k not in ("PAGEPACT_SOCKET", "POSIXLY_CORRECT")}
    env.update({"LC_ALL": "C.UTF-8", **extra})
    return env


def run(*args, stdin=subprocess.DEVNULL, **kwargs):
    kwargs.setdefault("env", environment())
    return subprocess.run([PAGEPACT, *args], stdin=stdin, capture_output=True, timeout=60,
                          check=False, **kwargs)


def ask(script, *args, hold=False, **kwargs):
    """Runs pagepact with these arguments against a daemon that plays the script."""
    with FakeDaemon(script, hold) as daemon:
        result = run("--socket", daemon.path, *args, **kwargs)
        daemon.ended.set()
        daemon.thread.join(10)
    return result, daemon.request


class Case(unittest.TestCase):
    def check_error(self, result, code, text):
        """One line on standard error, nothing on standard output, and this exit code."""
        message = result.stderr.decode()
        self.assertEqual(result.returncode, code, message)
        self.assertEqual(result.stdout, b"")
        self.assertTrue(message.startswith("pagepact: "), message)
        self.assertEqual(message.count("\n"), 1, message)
        self.assertIn(text, message)

    def check_done(self, result):
        self.assertEqual(result.stderr, b"")
        self.assertEqual(result.returncode, DONE)
        return result.stdout.decode()


class Usage(Case):
    def test_wrong_usage_is_one_line_and_2(self):
        for args, text in [
                (["--nonsense"], "--nonsense"), (["-z"], "'-z'"), (["nonsense"], "unknown verb"),
                (["dup", "--nonsense"], "--nonsense"), (["dup", "a", "stray"], "stray argument"),
                (["status", "alpha"], "stray argument"), (["detach"], "missing"),
                (["balloon", "a"], "either a size or --stop"), (["balloon", "a", "0"], "is no size"),
                (["balloon", "a", "--stop", "--dry-run"], "--stop alone"),
                (["balloon", "a", "--stop", "--timeout", "9"], "--stop alone"),
                (["balloon", "a", "1G", "--timeout", "86401"], "at most 86400 seconds"),
                (["balloon", "a", "1G", "--stop"], "either"), (["balloon", "a", "\033[2J"], "\\x1b[2J"),
                (["balloon", "a", "1G", "--cache", "most"], "none of first, only and off"),
                (["balloon", "a", "1G", "--timeout", "-5"], "not a number"),
                (["cache-limit"], "missing"), (["cache-limit", "a", "0%"], "is no limit"),
                (["cache-limit", "a", "\033[2J"], "\\x1b[2J"),
                (["hint"], "missing"), (["hint", "a", "Cache"], "is no hint"), (["hint", "a", "\033[2J"], "\\x1b[2J"), (["free", "a"], "missing"),
                (["free", "a", "0"], "more than 0"), (["free", "a", "25%"], "not a size"),
                (["attach", "alpha"], "missing"), (["explain", "x"], "not a number"),
                (["explain", "-1"], "'-1'"), (["explain", "0"], "more than 0"),
                (["reclaim", "--bytes", "1.5G"], "not a size"),
                (["reclaim", "--bytes", "9999999T"], "too large"),
                (["reclaim", "--bytes"], "missing"), (["dup", "--limit", "5"], "--files"),
                (["dup", "--files", "--limit", "x"], "not a number"),
                (["--timeout", "x"], "not a number"), (["--socket"], "missing"),
                (["--json=1"], "no value"), (["help", "nonsense"], "nonsense"),
                (["attach", "a", "/q", "--agent", "tcp:1"], "serial:"),
                (["attach", "a", "/q", "--agent", "serial:here"], "serial:"),
                (["dup", b"\xff"], "UTF-8"), (["--socket", "/" + "x" * 200], "107"),
                (["\033[2J"], "\\x1b[2J")]:
            with self.subTest(args=args):
                self.check_error(run(*args), USAGE, text)

    def test_help_needs_no_daemon(self):
        self.assertIn("usage: pagepact", self.check_done(run("--help")))
        self.assertEqual(run("help").stdout, run("--help").stdout)
        for verb in json.loads(run("help", "--json").stdout)["verbs"]:
            with self.subTest(verb=verb["name"]):
                text = self.check_done(run("help", verb["name"]))
                self.assertEqual(text.splitlines()[0], "cost: " + verb["cost"])
                self.assertEqual(run(verb["name"], "--help").stdout.decode(), text)

    def test_version_of_the_program_needs_no_daemon(self):
        self.assertRegex(self.check_done(run("--version")), r"^pagepact \S+\n$")

    def test_full_disk_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            result = subprocess.run([PAGEPACT, "help"], stdout=full, stderr=subprocess.PIPE,
                                    check=False)
        self.assertEqual(result.returncode, FAILED)
        self.assertIn(b"standard output", result.stderr)


class Unreachable(Case):
    def test_no_daemon(self):
        with tempfile.TemporaryDirectory() as directory:
            path = directory + "/control.sock"
            self.check_error(run("--socket", path), UNREACHABLE, "no daemon at " + path)
            self.check_error(run(env=environment(PAGEPACT_SOCKET=path)), UNREACHABLE, path)
            open(path, "wb").close()
            self.check_error(run("--socket", path), UNREACHABLE, "no daemon at " + path)

    def test_daemon_that_died(self):
        with tempfile.TemporaryDirectory() as directory:
            path = directory + "/control.sock"
            with socket.socket(socket.AF_UNIX) as left_over:
                left_over.bind(path)
            self.check_error(run("--socket", path), UNREACHABLE, "systemctl start")

    @unittest.skipIf(os.geteuid() != 0, "changing the user takes root")
    def test_no_permission(self):
        with FakeDaemon(b"") as daemon:
            os.chmod(daemon.directory.name, 0o711)
            os.chmod(daemon.path, 0o600)
            result = run("--socket", daemon.path, user=65534, group=65534, extra_groups=[])
            self.check_error(result, REFUSED, "no permission")

    def test_silent(self):
        start = time.monotonic()
        result, _ = ask(b"", "--timeout", "1", "status", hold=True)
        self.check_error(result, UNREACHABLE, "did not finish within 1 s")
        self.assertLess(time.monotonic() - start, 10)

    def test_drip_is_no_life(self):
        def drip(connection):
            for byte in b'{"parameters":{}}' * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.1)

        result, _ = ask(drip, "--timeout", "1", "status")
        self.check_error(result, UNREACHABLE, "did not finish within 1 s")

    def test_endless_progress_is_ended_by_the_deadline(self):
        def flood(connection):
            while True:
                connection.sendall(progress(stage="scan", done=1, total=2) * 1000)

        result, _ = ask(flood, "--timeout", "1", "dup")
        self.check_error(result, UNREACHABLE, "did not finish within 1 s")

    def test_hang_up(self):
        for script in [b"", b'{"parameters":', progress(stage="scan")]:
            with self.subTest(script=script):
                result, _ = ask(script, "status")
                self.check_error(result, UNREACHABLE, "closed the connection")

    def test_full_queue_of_connections(self):
        with tempfile.TemporaryDirectory() as directory:
            path = directory + "/control.sock"
            with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
                listener.bind(path)
                listener.listen(0)
                first.connect(path)
                self.check_error(run("--socket", path, "--timeout", "1"), UNREACHABLE,
                                 "accepted no connection within 1 s")


class Garbage(Case):
    def test_not_the_protocol(self):
        for script in [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\n", b"\0\n", b"[]\n", b"{}\n",
                       b"\xff\xfe\n", b'{"parameters":[]}\n', b"[" * 100000 + b"\n",
                       b'{"parameters":{"a":1e999}}\n', b'{"error":[]}\n',
                       os.urandom(1000).replace(b"\n", b"x") + b"\n"]:
            with self.subTest(script=script[:40]):
                result, _ = ask(script, "status")
                self.check_error(result, FAILED, "not pagepactd")

    def test_reply_of_another_version(self):
        for verb, args in [("status", []), ("dup", []), ("reclaim", []), ("explain", ["1"]),
                           ("free", ["a", "1M"])]:
            with self.subTest(verb=verb):
                result, _ = ask(reply(), verb, *args)
                self.check_error(result, FAILED, "of another version")

    def test_fields_of_wrong_types_are_dashes(self):
        wrong = copy.deepcopy(replies.STATUS)
        wrong["vms"] = [{"name": 7, "memory_bytes": "many", "agent": [], "census": "x",
                         "warnings": {"a": 1}}, None, 5, []]
        wrong["images"] = [{"users": [1, None]}, "x"]
        wrong["host"] = None
        result, _ = ask(reply(**wrong), "status")
        self.assertIn("memory -", self.check_done(result))

    def test_extreme_numbers(self):
        for number in [2**63 - 1, -2**63]:
            text = json.dumps({"parameters": {**replies.RECLAIM, "evicted_bytes": number}})
            with self.subTest(number=number):
                result, _ = ask(text.encode() + b"\n", "reclaim")
                self.assertIn("8388608.0 TiB", self.check_done(result))
        huge = copy.deepcopy(replies.DUP)
        huge["images"][0]["holders"] = [2**63 - 1] * 9
        huge["totals"]["copy_factor_permille"] = -2**63
        self.check_done(ask(reply(**huge), "dup")[0])
        sums = copy.deepcopy(replies.STATUS)
        sums["vms"][0]["census"] = dict.fromkeys(replies.CENSUS, 2**63 - 1)
        self.check_done(ask(reply(**sums), "status")[0])

    def test_line_of_more_than_16_mib(self):
        def huge(connection):
            while True:
                connection.sendall(b"x" * 65536)

        limit = 1 << 30
        result, _ = ask(huge, "status", preexec_fn=None if sanitized() else
                        lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
        self.check_error(result, FAILED, "more than 16 MiB")

    def test_reply_of_15_mib_is_taken(self):
        files = [dict(replies.FILES[0], path="/x/" + "y" * 200)] * 45000
        line = reply(**replies.DUP, files=files)
        self.assertGreater(len(line), 14 << 20)
        result, _ = ask(line, "dup", "--files")
        self.assertEqual(self.check_done(result).count("/x/y"), 45000)


def sanitized():
    with open(PAGEPACT, "rb") as f:
        return b"__asan_init" in f.read()


class Errors(Case):
    def test_codes(self):
        for code, exit_code in [("invalid", USAGE), ("refused", REFUSED), ("not_found", FAILED),
                                ("failed", FAILED), ("busy", FAILED), ("timeout", FAILED),
                                ("unheard_of", FAILED)]:
            with self.subTest(code=code):
                result, _ = ask(error(code, "one clear line"), "detach", "x")
                self.check_error(result, exit_code, "one clear line")

    def test_error_before_the_request_was_read(self):
        with FakeDaemon(error("busy", "too many clients"), read=False) as daemon:
            self.check_error(run("--socket", daemon.path, "dup"), FAILED, "too many clients")

    def test_messages_are_escaped(self):
        result, _ = ask(error("failed", "a\u001b[2J\nb\u009b"), "detach", "x")
        self.check_error(result, FAILED, "a\\x1b[2J\\x0ab\\u009b")

    def test_json_errors_go_to_standard_error(self):
        result, _ = ask(error("refused", "no"), "--json", "reclaim")
        self.check_error(result, REFUSED, "no")


class Requests(Case):
    def test_what_is_asked(self):
        def request(method, **parameters):
            return {"method": method, "parameters": parameters}

        for args, expected in [
                ([], request("status")),
                (["dup"], request("dup", files=False)),
                (["dup", "alpha", "--files"], request("dup", vm="alpha", files=True, limit=20)),
                (["dup", "--files", "--limit=3"], request("dup", files=True, limit=3)),
                (["reclaim"], request("reclaim", dry_run=False)),
                (["reclaim", "alpha", "--bytes", "2M", "--dry-run"],
                 request("reclaim", vm="alpha", bytes=2 << 20, dry_run=True)),
                (["free", "alpha", "1G"], request("free", vm="alpha", bytes=1 << 30, dry_run=False)),
                (["free", "alpha", "1M", "--dry-run"],
                 request("free", vm="alpha", bytes=1 << 20, dry_run=True)),
                (["cache-limit", "alpha"], request("cache-limit", vm="alpha", dry_run=False)),
                (["cache-limit", "alpha", "25%"],
                 request("cache-limit", vm="alpha", limit="25%", dry_run=False)),
                (["hint", "alpha"], request("hint", vm="alpha", dry_run=False)),
                (["hint", "alpha", "cache", "--dry-run"],
                 request("hint", vm="alpha", hint="cache", dry_run=True)),
                (["explain", "17"], request("explain", order=17)),
                (["attach", "alpha", "/q.sock"],
                 request("attach", name="alpha", qmp="/q.sock", act=False)),
                (["attach", "alpha", "q", "--agent", "serial:/a", "--act", "--domain", "d"],
                 request("attach", name="alpha", qmp="/usr/q",
                         agent="serial:/a", act=True, domain="d")),
                (["detach", "--", "--all"], request("detach", vm="--all")),
                (["version"], request("version"))]:
            with self.subTest(args=args):
                self.assertEqual(ask(reply(), *args, cwd="/usr")[1], expected)


class Output(Case):
    REPLIES = {"status": replies.STATUS, "dup": replies.DUP, "reclaim": replies.RECLAIM,
               "free": replies.FREE, "balloon": replies.BALLOON, "cache-limit": replies.CACHE_LIMIT, "hint": replies.HINT,
               "explain": replies.EXPLAIN, "attach": replies.ATTACH, "detach": {},
               "version": {"version": "0.1.0", "protocol": 1}}
    ARGS = {"free": ["alpha", "512M"], "balloon": ["alpha", "512M"], "cache-limit": ["alpha"], "hint": ["alpha"], "explain": ["17"], "attach": ["alpha", "/q"], "detach": ["alpha"]}

    def output(self, verb, *args, parameters=None, **kwargs):
        parameters = self.REPLIES[verb] if parameters is None else parameters
        result, _ = ask(reply(**parameters), verb, *self.ARGS.get(verb, []), *args, **kwargs)
        return self.check_done(result)

    def test_json_is_the_reply(self):
        for verb, parameters in self.REPLIES.items():
            with self.subTest(verb=verb):
                text = self.output(verb, "--json")
                self.assertEqual(json.loads(text), parameters)
                self.assertEqual(list(json.loads(text)), list(parameters))

    def test_status(self):
        lines = self.output("status").splitlines()
        self.assertEqual(lines[0], "host: memory 24.0 GiB, free 20.0 GiB, available 22.0 GiB, "
                                   "page cache 1500.0 MiB, pressure 1.3 %")
        self.assertIn("up 5 min, resident 5.0 MiB", lines[1])
        self.assertEqual(lines[4].split(), "alpha running 1024.0 MiB 900.0 MiB 422.0 MiB "
                                           "400.0 MiB 311.0 MiB live yes".split())
        self.assertEqual(lines[5].split(), "beta busy 1024.0 MiB - - - - - no".split())
        self.assertEqual(lines[7].split(), ["GUEST", "WANTED", "LIMIT", "SET-BY", "UNMAPPED", "STATE", "EVICTED",
                                            "REFAULTED", "HEAT", "REPORTED"])
        self.assertEqual(lines[8].split(), "alpha 12.5 % 128.0 MiB host 140.0 MiB kept 900.0 MiB 3.0 MiB "
                                           "get_pages 4.0 s".split())
        self.assertEqual(lines[10].split(), ["GUEST", "WANTED", "HINT", "SET-BY", "BALLOON", "LEFT", "EVICTED-AHEAD",
                                             "SEEN-BY"])
        self.assertEqual(lines[11].split(), "alpha cache cache host 512.0 MiB 64.0 MiB 96.0 MiB driver".split())
        self.assertEqual(lines[13].split(), "GUEST SET-UP RECLAIMABLE SPOILED CLEARS-PAGES".split())
        self.assertEqual(lines[14].split(), "alpha reporting 524.0 MiB 80.0 MiB yes".split())
        self.assertEqual(lines[17].split(), "2048.0 MiB 450.0 MiB allowed alpha, beta "
                                            "/images/base.raw".split())
        self.assertEqual(lines[18:20], [
            "balloon: beta: has 700.0 MiB of 1024.0 MiB; 'pagepact balloon beta max' gives it all back",
            "balloon: beta: not made smaller for another 5 min"])
        self.assertEqual(lines[20:22], ["set-up: 1 guest: by reporting; more would come by superpages",
                                        "set-up: 2 guests: by the balloon"])
        self.assertEqual(lines[22:], ["warning: beta: the QMP socket has another client",
                                     "warning: beta: no QMP", "warning: beta: balloon: no device"])

    def test_free(self):
        lines = self.output("free").splitlines()
        self.assertEqual([line.split() for line in lines[:4]],
                         [["STEP", "SIZE"], ["free", "100.0", "MiB"], ["slab", "4.0", "KiB"],
                          ["cold", "400.0", "MiB"]])
        self.assertEqual(lines[4:], [
            "order 18: of 512.0 MiB asked for, 400.0 MiB were given back in 5.2 s; it ended with: braked, "
            "brake memory", "the host sees 390.0 MiB of guest memory returned"])
        look = dict(replies.FREE, dry_run=True, order=None, stopped=None, brake=None,
                    steps=[{"step": "slab", "bytes": None}])
        lines = self.output("free", "--dry-run", parameters=look).splitlines()
        self.assertEqual(lines[1].split(), ["slab", "-"])
        self.assertIn("nothing was done", lines[2])

    def test_free_that_failed(self):
        """What was freed is shown, and a script notices."""
        failed = dict(replies.FREE, error="the guest \u001b[2J has gone")
        result, _ = ask(reply(**failed), "free", "alpha", "1G")
        self.assertEqual(result.returncode, FAILED)
        self.assertIn(b"400.0 MiB", result.stdout)
        self.assertEqual(result.stderr, b"pagepact: free: alpha: the guest \\x1b[2J has gone\n")

    def test_balloon(self):
        self.assertEqual(self.output("balloon").splitlines(), [
            "order 19: of 1024.0 MiB, to have 512.0 MiB, it has 512.0 MiB after 2 steps and 4.2 s; state: reached",
            "it ended with: done",
            "400.0 MiB of page cache and slab were given up first; the host sees 500.0 MiB of guest memory returned"])
        superpages = dict(replies.BALLOON, unplugged_bytes=256 << 20)
        self.assertEqual(self.output("balloon", "--by", "superpages", parameters=superpages).splitlines()[2],
                         "256.0 MiB were given as superpages, by virtio-mem")
        begun = dict(replies.BALLOON, state="running", reason="under way")
        self.assertEqual(self.output("balloon", "--no-wait", parameters=begun).splitlines(), [
            "order 19: under way from 1024.0 MiB to 512.0 MiB"])
        look = dict(replies.BALLOON, dry_run=True, order=None, state=None, host_returned_bytes=None, notes=["\u001b[2J"])
        self.assertEqual(self.output("balloon", "--dry-run", parameters=look).splitlines(), [
            "dry run: nothing was changed; it has 1024.0 MiB, its floor is 200.0 MiB (agent), and it would get 512.0 MiB "
            "in 2 steps", "note: \\x1b[2J"])

    def test_balloon_that_ended_elsewhere(self):
        """Whatever it ended with but the size asked for, a script notices; begun is done for who does not wait."""
        for state in ("floor", "cache_ended", "stalled", "pressure", "timeout", "stopped", "restarted", "migration",
                      "other_owner", "failed", "\u001b", None):
            with self.subTest(state=state):
                result, _ = ask(reply(**dict(replies.BALLOON, state=state)), "balloon", "alpha", "512M")
                self.assertEqual((result.returncode, result.stderr), (FAILED, b""))
                self.assertNotIn(b"\x1b", result.stdout)
        begun = dict(replies.BALLOON, state="running")
        result, request = ask(reply(**begun), "balloon", "alpha", "-256M", "--no-wait", "--timeout", "9")
        self.assertEqual(result.returncode, DONE)
        self.assertEqual(request, {"method": "balloon", "parameters": {
            "vm": "alpha", "size": "-256M", "dry_run": False, "no_wait": True, "timeout_sec": 9}})

    def test_cache_limit(self):
        self.assertEqual(self.output("cache-limit").splitlines(), [
            "alpha: page cache limit 128.0 MiB",
            "the agent, 4.0 s ago: limit 128.0 MiB, set by host; 140.0 MiB unmapped, state kept"])
        none = dict(replies.CACHE_LIMIT, report=None, cache_limit={"text": None, "source": None})
        self.assertEqual(self.output("cache-limit", parameters=none).splitlines(), [
            "alpha: page cache limit default", "the agent has not reported yet"])
        odd = dict(replies.CACHE_LIMIT, cache_limit={"text": "\u001b[2J"},
                   report=dict(replies.REPORT, limit_bytes=None, limit_state="\u001b", limit_origin=7))
        self.assertEqual(self.output("cache-limit", parameters=odd).splitlines(), [
            "alpha: page cache limit ?",
            "the agent, 4.0 s ago: limit none, set by ?; 140.0 MiB unmapped, state ?"])

    def test_cache_limit_set(self):
        later = dict(replies.CACHE_LIMIT, note="it will hold once it does")
        self.assertEqual(self.output("cache-limit", "128M", parameters=later).splitlines(), [
            "alpha: page cache limit 128.0 MiB", "alpha: it will hold once it does"])
        look = dict(replies.CACHE_LIMIT, dry_run=True, checked={"text": "50.0%"})
        self.assertEqual(self.output("cache-limit", "50%", "--dry-run", parameters=look).splitlines(), [
            "alpha: dry run: nothing was changed, the limit would be 50.0 %", "alpha: page cache limit 128.0 MiB"])

    def test_hint(self):
        self.assertEqual(self.output("hint").splitlines(), [
            "alpha: hint cache",
            "the agent, 4.0 s ago: hint cache, set by host; 96.0 MiB evicted ahead of 3 inflations, seen by driver"])
        none = dict(replies.HINT, report=None, hint={"text": None, "source": None})
        self.assertEqual(self.output("hint", parameters=none).splitlines(), [
            "alpha: hint default", "the agent has not reported yet"])
        odd = dict(replies.HINT, hint={"text": "\u001b[2J"},
                   report=dict(replies.REPORT, hint="\u001b", inflation_seen_by=7, hint_origin=None))
        self.assertEqual(self.output("hint", parameters=odd).splitlines(), [
            "alpha: hint ?",
            "the agent, 4.0 s ago: hint ?, set by ?; 96.0 MiB evicted ahead of 3 inflations, seen by ?"])

    def test_hint_set(self):
        later = dict(replies.HINT, note="the machine has no balloon")
        self.assertEqual(self.output("hint", "cache", parameters=later).splitlines(), [
            "alpha: hint cache", "alpha: the machine has no balloon"])
        look = dict(replies.HINT, dry_run=True, checked={"text": "none"})
        self.assertEqual(self.output("hint", "none", "--dry-run", parameters=look).splitlines(), [
            "alpha: dry run: nothing was changed, the hint would be none", "alpha: hint cache"])

    def test_status_without_pressure_and_guests(self):
        empty = copy.deepcopy(replies.STATUS)
        empty["host"]["pressure_some_avg10_permille"] = None
        empty["daemon"]["dry_run"] = True
        empty.update(vms=[], images=[])
        text = self.output("status", parameters=empty)
        self.assertIn("pressure unknown", text)
        self.assertIn("dry run", text)
        self.assertIn("no guests", text)

    def test_status_names(self):
        self.assertEqual(self.output("status", "--names"), "alpha\nbeta\n")

    def test_dup(self):
        lines = self.output("dup").splitlines()
        self.assertIn("HOST+1", lines[0])
        self.assertIn("HOST+2", lines[0])
        self.assertNotIn("HOST+3", lines[0])
        self.assertEqual(lines[1].split(), "450.0 MiB 500.0 MiB 1150.0 MiB 311.0 MiB 11.0 MiB "
                                           "300.0 MiB /images/base.raw".split())
        self.assertEqual(lines[-2], "unplaced: alpha: 32.0 MiB: no file system that is known")
        self.assertIn("copy factor 2.30", lines[-1])

    def test_dup_of_nothing(self):
        nothing = {**replies.DUP, "images": [], "vms": [],
                   "totals": dict.fromkeys(replies.DUP["totals"], 0)}
        self.assertEqual(self.output("dup", parameters=nothing), "total: 0 B cached, in copies of "
                         "0 B, of which 0 B are duplicates\n")

    def test_dup_of_many_holders(self):
        many = copy.deepcopy(replies.DUP)
        many["images"][0]["holders"] = [1, 2, 4, 8, 16, 32]
        line = self.output("dup", "--bytes", parameters=many).splitlines()[1]
        self.assertEqual(line.split()[4:8], ["1", "2", "4", "56"])

    def test_dup_of_what_is_not_known(self):
        blind = copy.deepcopy(replies.DUP)
        blind["images"][0].update(known=False, reason="no right to ask")
        blind["vms"][0].update(known=False, reason="its agent is silent", notes=["vda: no image"])
        lines = self.output("dup", parameters=blind).splitlines()
        self.assertEqual(lines[1].split(), "- 500.0 MiB - - - - /images/base.raw".split())
        self.assertEqual(lines[4].split(), "alpha - - - - -".split())
        self.assertEqual(lines[6:9], ["warning: /images/base.raw: no right to ask",
                                      "warning: alpha: its agent is silent",
                                      "note: alpha: vda: no image"])

    def test_dup_files(self):
        text = self.output("dup", "--files", parameters={**replies.DUP, "files": replies.FILES})
        self.assertRegex(text, r"\nalpha +4\.0 MiB +3\.0 MiB +0 B /usr/bin/perl\n")

    def test_reclaim(self):
        lines = self.output("reclaim").splitlines()
        self.assertEqual(lines[1].split(), "17 3 2 alpha evict 300.0 MiB 290.0 MiB mapped 8.0 MiB,"
                                           " hot 2.0 MiB /images/base.raw".split())
        self.assertIn("(host)", lines[2])
        self.assertEqual(lines[3], "evicted 290.0 MiB in guests, trimmed 290.0 MiB on the host; "
                                   "the host sees 280.0 MiB of guest memory returned")

    def test_reclaim_dry_run(self):
        text = self.output("reclaim", "--dry-run", parameters={**replies.RECLAIM, "dry_run": True})
        self.assertTrue(text.endswith("dry run: nothing was done\n"))

    def test_reclaim_refused(self):
        refused = {**replies.RECLAIM, "refused": [{"vm": "beta", "reason": "it observes only"}]}
        self.assertIn("refused: beta: it observes only",
                      self.output("reclaim", parameters=refused))
        refused["orders"] = []
        for args, code in [(["beta"], REFUSED), (["beta", "--json"], REFUSED), (["alpha"], DONE),
                           ([], DONE)]:
            result, _ = ask(reply(**refused), "reclaim", *args)
            self.assertEqual(result.returncode, code)
        image = [{"vm": None, "image": "/images/base.raw", "reason": "process 7 has it open"}]
        self.assertIn("refused: (host): /images/base.raw: process 7 has it open\n",
                      self.output("reclaim", parameters={**replies.RECLAIM, "refused": image}))

    def test_explain(self):
        text = self.output("explain")
        self.assertIn("the host's copy was re-read before\n", text)
        self.assertIn("  host_free_bytes = 5.0 MiB\n  pressure_permille = 13\n", text)
        self.assertIn('  holders = ["alpha","beta"]\n', text)
        self.assertIn("  why = a\\x1b[2Jb\n", text)

    def test_attach_detach_version(self):
        self.assertEqual(self.output("attach").splitlines(),
                         ["attached alpha, agent serial:/run/a.sock", *replies.ATTACH["advice"]])
        added = {**replies.ATTACH, "added_port": True, "advice": []}
        self.assertIn("(port added)", self.output("attach", parameters=added))
        self.assertEqual(self.output("detach"), "detached alpha\n")
        self.assertRegex(self.output("version"), r"pagepact \S+\npagepactd 0.1.0, protocol 1\n")

    def test_bytes_and_noheadings(self):
        text = self.output("status", "--bytes", "--noheadings")
        self.assertNotIn("MiB", text)
        self.assertNotIn("GUEST", text)
        self.assertIn(str(900 << 20), text)
        result, _ = ask(reply(**replies.RECLAIM), "--bytes", "reclaim")
        self.assertIn(str(280 << 20), self.check_done(result))


class Terminal(Case):
    """Guests choose names of files: no byte of theirs may reach the terminal as a control."""

    def check_harmless(self, output):
        text = output.decode()
        for c in text:
            self.assertTrue(c == "\n" or c.isprintable(), f"{c!r} in {text!r}")

    def hostile(self, value):
        """The same reply with every string in it, keys of unknown objects too, made hostile."""
        if isinstance(value, dict):
            return {k: self.hostile(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self.hostile(v) for v in value]
        return ESCAPES["path"] if isinstance(value, str) else value

    def test_every_verb(self):
        dup = {**replies.DUP, "files": replies.FILES}
        for locale in ["C.UTF-8", "C"]:
            for verb, parameters in {**Output.REPLIES, "dup": dup}.items():
                for extra in [[], ["--json"], ["--noheadings"]]:
                    args = [verb, *Output.ARGS.get(verb, []), *extra]
                    args += ["--files"] if verb == "dup" else []
                    bad = self.hostile(parameters)
                    if verb == "dup":
                        bad["vms"][0]["unplaced_reasons"] = {ESCAPES["path"]: 7}
                    if verb == "explain":
                        bad["inputs"][ESCAPES["name"]] = {"\u009b": "\u202e\u007f"}
                        bad["order"]["kept"] = {ESCAPES["name"]: 7}
                    if verb == "balloon":
                        bad["state"] = parameters["state"]
                    with self.subTest(args=args, locale=locale):
                        result, _ = ask(reply(**bad), *args, env=environment(LC_ALL=locale))
                        self.assertEqual(result.returncode, DONE)
                        self.check_harmless(result.stdout)

    def test_status_names(self):
        bad = self.hostile(replies.STATUS)
        self.check_harmless(ask(reply(**bad), "status", "--names")[0].stdout)

    def test_one_row_stays_one_row(self):
        bad = self.hostile(FILES_REPLY)
        text = ask(reply(**bad), "dup", "--files")[0].stdout.decode()
        self.assertIn("/tmp/\\x1b[2J\\u009b31m\\x0a\\u202efdp.exe\\\\x1b", text)

    def test_8_bit_terminal(self):
        # U+011B is C4 9B in UTF-8, and 9B starts a control sequence in ISO 8859.
        status = copy.deepcopy(replies.STATUS)
        status["vms"][0]["name"] = "\u011b"
        result, _ = ask(reply(**status), "status", env=environment(LC_ALL="C"))
        self.assertNotIn(b"\x9b", result.stdout)
        self.assertIn(b"\\u011b", result.stdout)


FILES_REPLY = {**replies.DUP, "files": replies.FILES}


class Progress(Case):
    LINES = progress(stage="scan", vm="al\u001bpha", done=1, total=2) + \
        progress(stage="wait", message="for the host")

    def test_quiet_without_terminal(self):
        result, _ = ask(self.LINES + reply(**replies.DUP), "dup")
        self.check_done(result)

    def test_verbose(self):
        result, _ = ask(self.LINES + reply(**replies.DUP), "dup", "--verbose")
        self.assertEqual(result.returncode, DONE)
        self.assertEqual(result.stderr, b"al\\x1bpha: scan 50 %\nwait for the host\n")

    def on_terminal(self, term):
        controller, terminal = pty.openpty()
        with FakeDaemon(self.LINES + reply(**replies.RECLAIM)) as daemon:
            code = subprocess.run([PAGEPACT, "--socket", daemon.path, "reclaim"], stderr=terminal,
                                  stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=60,
                                  env=environment(TERM=term), check=False).returncode
        os.close(terminal)
        shown = b""
        try:
            while piece := os.read(controller, 4096):
                shown += piece
        except OSError:
            pass  # EIO is how a terminal without a program ends.
        os.close(controller)
        self.assertEqual(code, DONE)
        return shown

    def test_terminal(self):
        self.assertEqual(self.on_terminal("xterm"),
                         b"\ral\\x1bpha: scan 50 %\x1b[K\rwait for the host\x1b[K\r\x1b[K")
        self.assertEqual(self.on_terminal("dumb"), b"")


if __name__ == "__main__":
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        print("usage: test-ctl.py PAGEPACT [unittest arguments]", file=sys.stderr)
        sys.exit(99)
    PAGEPACT = os.path.abspath(sys.argv.pop(1))
    unittest.main()
