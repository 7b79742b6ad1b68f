# SPDX-License-Identifier: Apache-2.0
"""What the parts of the demo hand on to each other."""
from dataclasses import dataclass, field

from lab import oracle, workload
from lab.report import bar, mib, table

KNOWN_FILE = workload.KNOWN[0]


@dataclass
class Demo:
    lab: object
    report: object
    kernel: str
    guests: list = field(default_factory=list)
    files: dict = field(default_factory=dict)  # guest name: all files that it reads
    shared: list = field(default_factory=list)
    own: dict = field(default_factory=dict)  # guest name: files that nobody else reads
    hot: list = field(default_factory=list)
    hot_mapped: list = field(default_factory=list)
    sums: dict = field(default_factory=dict)  # guest name: {path: CRC} of files written there
    hold: object = None
    witness: object = None
    before: object = None
    after: object = None
    hot_blocks: dict = field(default_factory=dict)

    @property
    def alpha(self):
        return self.guests[0]

    @property
    def bravo(self):
        return self.guests[1]

    def read_everything(self):
        """Both guests read all their files at once: (bytes, the slower one's seconds, bytes read from storage)."""
        stored = sum(g.storage_read_bytes() for g in self.guests)
        done = workload.read({g: self.files[g.name] for g in self.guests}).values()
        return sum(d["bytes"] for d in done), max(d["seconds"] for d in done), \
            sum(g.storage_read_bytes() for g in self.guests) - stored

    def evict_alphas_own_from_host(self):
        """Make what only alpha reads a sole copy; its bytes that the host really let go."""
        gone = 0
        for image, blocks in oracle.blocks_of(self.before_or_now(), self.own["alpha"]).items():
            held = oracle.host_resident(image) & blocks
            left = oracle.evict_from_host(image, held, flush=image != str(self.alpha.base))
            gone += (held.bit_count() - left.bit_count()) * oracle.BLOCK
        return gone

    def before_or_now(self):
        if self.before:
            return self.before.guests["alpha"]
        look = oracle.look_in_guest(self.alpha, self.own["alpha"])
        return oracle.guest_view(look, oracle.disk_map(self.alpha))

    def show_machine(self, machine):
        """A bar a place: what only it caches, what it shares with one other place, and with both."""
        places = {"host": machine.host, **{name: view.held for name, view in machine.guests.items()}}
        full = max(map(oracle.size_bytes, places.values()))
        self.report.say(f"  {'':8}  # in one place only   2 in two places   3 in all three; full width {mib(full)}")
        for name, held in places.items():
            others = [h for n, h in places.items() if n != name]
            everywhere = oracle.size_bytes(oracle.both(oracle.both(held, others[0]), others[1]))
            alone = oracle.size_bytes(oracle.without(held, oracle.union(*others)))
            total = oracle.size_bytes(held)
            drawn = bar([("#", alone), ("2", total - alone - everywhere), ("3", everywhere)], full)
            self.report.say(f"  {name:8}  [{drawn}] {mib(total):>12}")

    def show_known_file(self, machine):
        """Where one file that a person knows by name is cached."""
        rows, blocks = [], {}
        for name, view in machine.guests.items():
            held = oracle.blocks_of(view, [KNOWN_FILE])
            blocks = oracle.union(blocks, held)
            rows.append((f"guest {name}", mib(oracle.size_bytes(held))))
        # The guests' blocks before reclaim name the file's place in the image, whoever holds them now.
        self.known_blocks = oracle.union(getattr(self, "known_blocks", {}), blocks)
        rows.append(("host", mib(oracle.size_bytes(oracle.both(machine.host, self.known_blocks)))))
        self.report.say(f"\n  {KNOWN_FILE} is cached:")
        self.report.say(table(("place", "of the file"), rows))
