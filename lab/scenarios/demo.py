# SPDX-License-Identifier: Apache-2.0
"""Two guests on one image: finds every page that is cached twice, gives it back, and shows what that cost."""
from lab import demo_after, demo_before, demo_end
from lab.demo_state import Demo
from lab.say import step


def run(lab, report, kernel):
    demo = Demo(lab, report, kernel)
    demo_before.boot(demo)
    demo_before.fill(demo)
    demo_before.make_honest(demo)
    demo_before.find(demo)
    demo_after.reclaim(demo)
    demo_after.look_again(demo)
    demo_after.read_again(demo)
    demo_after.rival(demo)
    demo_after.costs(demo)
    demo_end.idle(demo)
    demo_end.kill_in_mid_work(demo)
    step("done")
    report.print_measures()
