#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Manual pages, --help and completions against the programs' own tables, both ways.

usage: test-docs.py SOURCE-ROOT PAGEPACT [PAGEPACTD [PAGEPACT-AGENT [PAGEPACT-RESTORE]]] [-- unittest arguments]
"""
import json
import re
import subprocess
import sys
import unittest
from pathlib import Path

SECTIONS = {"NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "FILES", "SECURITY", "EXAMPLES",
            "SEE ALSO"}
PAGES = {"pagepact.1", "pagepactd.8", "pagepact-agent.8", "pagepact-restore.8", "pagepact-agent.conf.5",
         "pagepact.conf.5"}
# Verbs of the plan that are not built: nothing may speak as if they were.
NOT_BUILT = ["limit", "share", "top", "record", "replay", "files"]
ROOT, PROGRAMS = Path(), {}


def output(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def table():
    return json.loads(output(PROGRAMS["pagepact"], "help", "--json"))


def source(page):
    return (ROOT / "man" / f"{page}.scd").read_text()


def sections(text):
    """{title: body} of a page's source."""
    parts = re.split(r"^# (.*)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def plain(text):
    """Source without its marks and line breaks, as words."""
    return " ".join(re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[*_]", "", text)).split())


def option_entries(text):
    """Names of the options that a piece of a page's source describes, an entry each."""
    return set(re.findall(r"^\t*\*--([a-z-]+)\*(?: _[^_]+_)?(?:, \*-.\*)?$", text, re.M))


def names(options):
    return {o["name"] for o in options}


class Pages(unittest.TestCase):
    def test_every_page_is_there(self):
        self.assertEqual({p.stem for p in (ROOT / "man").glob("*.scd")}, PAGES)

    def test_sections(self):
        for page in PAGES:
            with self.subTest(page=page):
                self.assertLessEqual(SECTIONS, set(sections(source(page))))

    def test_pages_name_each_other(self):
        for page in PAGES:
            others = {f"{p.rsplit('.', 1)[0]}({p[-1]})" for p in PAGES - {page}}
            also = plain(sections(source(page))["SEE ALSO"])
            with self.subTest(page=page):
                self.assertTrue(any(o in also for o in others))
                for name, section in re.findall(r"(pagepact[a-z.-]*)\((\d)\)", plain(source(page))):
                    self.assertIn(f"{name}.{section}", PAGES)

    def test_scdoc_takes_them(self):
        for page in PAGES:
            with self.subTest(page=page):
                result = subprocess.run(["scdoc"], input=source(page), text=True, check=False,
                                        capture_output=True)
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertTrue(result.stdout)


class Verbs(unittest.TestCase):
    def setUp(self):
        self.table = table()
        body = sections(source("pagepact.1"))["VERBS"]
        parts = re.split(r"^\*([a-z-]+)\*(.*)$", body, flags=re.M)
        self.entries = {name: (name + usage, text) for name, usage, text
                        in zip(parts[1::3], parts[2::3], parts[3::3])}

    def test_manual_has_the_verbs_in_order(self):
        self.assertEqual(list(self.entries), [v["name"] for v in self.table["verbs"]])

    def test_usage_summary_and_cost_are_the_same(self):
        for verb in self.table["verbs"]:
            usage, text = self.entries[verb["name"]]
            with self.subTest(verb=verb["name"]):
                self.assertEqual("pagepact " + plain(usage), verb["usage"])
                words = plain(text).lower()
                self.assertTrue(words.startswith(verb["summary"].lower() + ". cost: " +
                                                 verb["cost"].lower() + "."), words[:300])

    def test_options_are_the_same(self):
        for verb in self.table["verbs"]:
            with self.subTest(verb=verb["name"]):
                self.assertEqual(option_entries(self.entries[verb["name"]][1]),
                                 names(verb["options"]))
                for name in names(verb["options"]):
                    self.assertIn(f"--{name}", verb["usage"])

    def test_global_options_are_the_same(self):
        self.assertEqual(option_entries(sections(source("pagepact.1"))["OPTIONS"]),
                         names(self.table["options"]))

    def test_exit_codes_are_the_same(self):
        codes = re.findall(r"^\*(\d)\*$", sections(source("pagepact.1"))["EXIT STATUS"], re.M)
        self.assertEqual(codes, list(self.table["exit_codes"]))
        self.assertEqual(codes, ["0", "1", "2", "3", "4"])

    def test_help_shows_the_table(self):
        text = output(PROGRAMS["pagepact"], "--help")
        shown = re.findall(r"^  ([a-z-]+) ", text.split("options:")[0], re.M)
        self.assertEqual(shown, [v["name"] for v in self.table["verbs"]])
        self.assertEqual(set(re.findall(r"^  --([a-z-]+)", text, re.M)),
                         names(self.table["options"]))
        for verb in self.table["verbs"]:
            text = output(PROGRAMS["pagepact"], "help", verb["name"])
            self.assertEqual(text.splitlines()[0], "cost: " + verb["cost"])
            self.assertEqual(set(re.findall(r"^  --([a-z-]+)", text, re.M)),
                             names(verb["options"]))

    def test_what_is_not_built_is_no_verb(self):
        for verb in NOT_BUILT:
            self.assertNotIn(verb, self.entries)
            for page in PAGES:
                self.assertNotIn(f"pagepact {verb}", plain(source(page)))

    def test_examples_use_what_there_is(self):
        verbs = {v["name"] for v in self.table["verbs"]}
        options = names(self.table["options"])
        for verb in self.table["verbs"]:
            options |= names(verb["options"])
        for page in PAGES:
            for line in re.findall(r"^# pagepact( .*)?$", source(page), re.M):
                words = re.sub(r"--socket \S+", "", line.split("|")[0]).split()
                with self.subTest(page=page, line=line):
                    found = [w for w in words if not w.startswith("-")]
                    self.assertTrue(not found or found[0] in verbs)
                    self.assertLessEqual({w[2:] for w in words if w.startswith("--")}, options)


class Completions(unittest.TestCase):
    def setUp(self):
        self.table = table()
        self.bash = (ROOT / "completion/pagepact.bash").read_text()
        self.zsh = (ROOT / "completion/_pagepact").read_text()

    def test_bash(self):
        verbs = re.search(r"verbs='([^']*)'", self.bash)[1].split()
        self.assertEqual(verbs, [v["name"] for v in self.table["verbs"]])
        self.assertEqual(set(re.search(r"global='([^']*)'", self.bash)[1].split()),
                         {f"--{n}" for n in names(self.table["options"])})
        options = dict(re.findall(r"^\t([a-z-]+)\) options='([^']*)'", self.bash, re.M))
        for verb in self.table["verbs"]:
            self.assertEqual(set(options.pop(verb["name"], "").split()),
                             {f"--{n}" for n in names(verb["options"])}, verb["name"])
        self.assertEqual(options, {})

    def test_zsh(self):
        described = re.search(r"verbs=\((.*?)\n\t\)", self.zsh, re.S)[1]
        self.assertEqual(re.findall(r"'([a-z-]+):", described),
                         [v["name"] for v in self.table["verbs"]])
        common = set(re.findall(r"'--([a-z-]+)\[", re.search(r"global=\((.*?)\n\t\)", self.zsh,
                                                           re.S)[1])) | {"bytes"}
        self.assertEqual(common, names(self.table["options"]))
        cases = dict(re.findall(r"^\t([a-z-]+)\)\n(.*?)\n\t\t;;", self.zsh, re.M | re.S))
        for verb in self.table["verbs"]:
            self.assertEqual(set(re.findall(r"'--([a-z-]+)\[", cases.pop(verb["name"]))),
                             names(verb["options"]), verb["name"])
        self.assertEqual(cases, {})

    def test_bash_completes(self):
        script = ('source "$1"; pagepact() { printf "alpha\\nbeta\\n"; }; shift; '
                  'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pagepact; echo "${COMPREPLY[*]}"')

        def complete(*words):
            return output("bash", "-c", script, "bash", ROOT / "completion/pagepact.bash",
                          "pagepact", *words).split()

        self.assertEqual(complete("de"), ["detach"])
        self.assertEqual(complete("--socket", "/s", "rec"), ["reclaim"])
        self.assertEqual(complete("reclaim", "--dr"), ["--dry-run"])
        self.assertEqual(complete("dup", ""), ["alpha", "beta"])
        self.assertEqual(complete("dup", "--limit", "5", "b"), ["beta"])
        self.assertEqual(complete("dup", "alpha", ""), [])
        self.assertEqual(complete("dup", "--limit", ""), [])
        self.assertEqual(complete("help", "st"), ["status"])
        self.assertEqual(complete("cache-limit", ""), ["alpha", "beta"])
        self.assertEqual(complete("cache-limit", "alpha", "d"), ["default"])
        self.assertEqual(complete("hint", "alpha", "c"), ["cache"])
        self.assertEqual(complete("free", "alpha", ""), [])


class Daemons(unittest.TestCase):
    """--help against OPTIONS, of the programs that were given."""

    def check_program(self, name, page):
        if name not in PROGRAMS:
            self.skipTest(f"{name} was not given")
        text = output(PROGRAMS[name], "--help")
        manual = sections(source(page))
        self.assertEqual(set(re.findall(r"--([a-z][a-z-]+)", text)),
                         option_entries(manual["OPTIONS"]))
        shown = set(re.findall(r"--([a-z-]+)", manual["SYNOPSIS"]))
        self.assertEqual(shown, option_entries(manual["OPTIONS"]) - {"help", "version"})
        self.assertRegex(output(PROGRAMS[name], "--version"), rf"^{name} \S+\n$")
        self.assertEqual(subprocess.run([PROGRAMS[name], "--nonsense"], capture_output=True,
                                        check=False).returncode, 2)

    def test_pagepactd(self):
        self.check_program("pagepactd", "pagepactd.8")

    def test_pagepact_agent(self):
        self.check_program("pagepact-agent", "pagepact-agent.8")

    def test_pagepact_restore(self):
        self.check_program("pagepact-restore", "pagepact-restore.8")


class Configuration(unittest.TestCase):
    def test_keys_are_those_of_the_parser(self):
        parser = (ROOT / "src/host/config-parse.c").read_text()
        page = sections(source("pagepact.conf.5"))
        for section, array in [("PAGEPACT.CONF", "main_keys"), ("VMS.D", "vm_keys")]:
            keys = re.search(rf"{array}\[\] = {{(.*?)^}};", parser, re.M | re.S)[1]
            self.assertEqual(set(re.findall(r"^\*([a-z_]+)\* = ", page[section], re.M)),
                             set(re.findall(r'{ "([a-z_]+)"', keys)))
            name = re.search(r"In section \*\[([a-z]+)\]\*", page[section])[1]
            self.assertRegex(parser, rf'"{name}", {array}')

    def test_the_agents_keys_are_those_of_its_parser(self):
        parser = (ROOT / "src/guest/settings-parse.c").read_text()
        page = sections(source("pagepact-agent.conf.5"))["AGENT.CONF"]
        example = (ROOT / "units/agent.conf").read_text()
        keys = re.search(r"agent_keys\[\] = {(.*?)^};", parser, re.M | re.S)[1]
        keys = re.findall(r'{ "([a-z_]+)"', keys)
        entries = dict(re.findall(r"^\*([a-z_]+)\* = .*\n((?:\t.*\n)+)", page, re.M))
        shipped = dict(re.findall(r"^#([a-z_]+) = (.*)$", example, re.M))
        self.assertEqual(list(entries), keys)
        self.assertEqual(list(shipped), keys)
        for key in keys:
            self.assertIn(f"Default: *{shipped[key]}*.", " ".join(entries[key].split()))
        section = re.search(r'define SECTION\s+"([a-z]+)"', parser)[1]
        self.assertIn(f"section *[{section}]*", page)
        self.assertIn(f"\n[{section}]\n", example)

    def test_the_agents_other_words_are_those_of_its_parser(self):
        parser = (ROOT / "src/guest/settings-parse.c").read_text()
        page = sections(source("pagepact-agent.conf.5"))
        for section, name in [("KERNEL COMMAND LINE", "BOOT_KEY"), ("SMBIOS", "SMBIOS_KEY")]:
            word = re.search(rf'define {name}\s+"(.*)"', parser)[1]
            self.assertRegex(page[section], rf"(?m)^\*{re.escape(word)}(\*\[\*)?=")


def main():
    global ROOT
    arguments = sys.argv[1:]
    rest = arguments[arguments.index("--") + 1:] if "--" in arguments else []
    arguments = arguments[:arguments.index("--")] if "--" in arguments else arguments
    if not 2 <= len(arguments) <= 5:
        print(__doc__, file=sys.stderr)
        sys.exit(99)
    ROOT = Path(arguments[0])
    PROGRAMS.update(zip(["pagepact", "pagepactd", "pagepact-agent", "pagepact-restore"],
                        [str(Path(a).absolute()) for a in arguments[1:]]))
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
