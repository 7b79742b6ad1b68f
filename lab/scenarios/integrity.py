# SPDX-License-Identifier: Apache-2.0
"""No byte of any file changes while writers and readers work on them and agents, killed now and then, evict from the cache."""
from lab import images, integrity, wire
from lab.report import MIB, mib
from lab.say import step

SECONDS, QUICK_SECONDS = 600, 30
DISK_BYTES = 512 * MIB
LIMIT_BYTES = 4096
EVICTED_BYTES_A_SECOND = 256 * 1024


def run(lab, report, kernel):
    seconds = lab.seconds or (QUICK_SECONDS if lab.quick else SECONDS)
    disks = {"ext4": images.make_ext4(lab.directory / "ext4.raw", DISK_BYTES),
             "xfs": images.make_xfs(lab.directory / "xfs.raw", DISK_BYTES)}
    guest = lab.guest("alpha", kernel=kernel, smp=2, memory_mib=512, modules=True, extra_disks=disks.values())
    guest.wait_ready()
    guest.run("mkdir -p /mnt/ext4 /mnt/xfs && mount /dev/vdb /mnt/ext4 && mount /dev/vdc /mnt/xfs")
    report.head(f"Files on {' and '.join(disks)} for {seconds} s")
    work = integrity.Work(guest, {kind: f"/mnt/{kind}/work" for kind in disks}, seconds)
    with wire.Link(guest.agent_path) as link:
        evictor = integrity.Evictor(guest, link, LIMIT_BYTES)
        evictor.evict_until(work.is_due, seconds + 60)
        found = work.end()
    report.measure("integrity_seconds", seconds)
    for kind, count in sorted(found["operations"].items()):
        report.measure(f"integrity_{kind}_operations", count)
    report.measure("integrity_agents_killed", evictor.killed)
    least = seconds * EVICTED_BYTES_A_SECOND
    report.check("integrity_evicted_bytes", report.measure("integrity_evicted_bytes", evictor.evicted), f">= {least}")
    for line in found["wrong"]:
        report.say(f"  {line}")
    report.check("integrity_wrong", len(found["wrong"]), "== 0")
    report.check("integrity_files", report.measure("integrity_files", len(found["files"])), "> 0")
    report.check("alpha_kernel_log_troubles", len(guest.check_kernel_log()), "== 0")
    guest.run("sync")
    guest.kill()
    for kind, image in disks.items():
        compared = integrity.on_disk(image, kind, found["files"], f"/mnt/{kind}")
        if compared is None:
            report.say(f"  This machine cannot look into an {kind}: compared in the guest only.")
            continue
        report.check(f"integrity_{kind}_files_on_disk", compared[0], f"== {len(found['files']) // 2}")
        report.check(f"integrity_{kind}_wrong_on_disk", len(compared[1]), "== 0")
    step(f"{sum(found['operations'].values())} operations, {mib(evictor.evicted)} evicted, {evictor.killed} agents killed")
    report.print_measures()
