"""One story, told on a stock Debian: Weir is installed from its packages, works, is upgraded, and leaves.

Every step is named and checked; the first that is not as it must be ends the story. The steps after the
reboot find in a file that they are next.
"""

import json
import os
import sys
import time
import traceback

import coming
import going
import hardening
import living
import told
import watching

MARK = "weir-vm: "
# What is left for the steps after the reboot.
PROGRESS = os.path.join(told.HOME, "story.json")

BEFORE = [
    coming.nothing_of_weir_is_there,
    coming.packages_are_installed,
    coming.certificates_are_made,
    coming.the_scheduler_and_the_agent_find_each_other,
    coming.a_reservation_and_a_volume_are_made,
    coming.a_task_keeps_something_in_its_volume,
    living.a_web_server_answers,
    living.limits_of_containers_hold,
    living.systemd_keeps_what_is_delegated_as_it_is,
    watching.prometheus_scrapes_both,
    watching.prometheus_answers_the_dashboards,
    watching.scrapes_from_elsewhere_need_a_certificate,
    watching.the_journal_is_found_by_container_and_peer,
    living.a_restart_under_load_loses_nothing,
    living.a_kill_under_load_loses_nothing,
    living.an_agent_that_hangs_is_replaced,
    living.a_reload_reads_new_certificates,
    living.an_upgrade_under_load_loses_nothing,
    living.what_is_missing_is_said_at_installation,
    living.a_configuration_that_makes_no_sense_is_tried_once,
    living.a_key_that_the_scheduler_cannot_read_ends_no_scheduler_that_works,
    hardening.attempts_succeed_where_nothing_is_closed,
    hardening.every_directive_alone_closes_what_it_is_for,
    hardening.what_a_service_leaves_in_memory_is_removed,
    hardening.the_units_close_all_that_they_say,
    hardening.what_stands_open_has_its_reason,
    going.the_machine_is_rebooted,
]
AFTER = [
    going.reservations_and_volumes_come_back,
    going.a_drained_agent_goes_and_comes_back,
    going.removed_packages_leave_no_process,
    going.a_purge_leaves_nothing,
]


def tell(steps):
    """Goes through steps; returns whether all of them are as they must be."""
    for step in steps:
        name = step.__name__.replace("_", " ")
        print(f"{MARK}step {name}", flush=True)
        begun = time.monotonic()
        try:
            said = step()
        except told.Failed as error:
            said, problem = None, str(error)
        except Exception:
            said, problem = None, traceback.format_exc()
        else:
            problem = None
        if problem is not None:
            print(problem, flush=True)
            print(f"{MARK}failed {name}: {problem.strip().splitlines()[-1]}", flush=True)
            return False
        print(f"{MARK}passed {time.monotonic() - begun:.1f} {name}{': ' + said if said else ''}", flush=True)
    return True


def show_journal():
    os.system("journalctl --boot --no-pager --lines 150 --unit 'weir*' --unit prometheus; journalctl --boot --no-pager --lines 20")


def main():
    wanted = sys.argv[1:]
    if wanted:
        steps = [step for step in BEFORE + AFTER if step.__name__ in wanted]
        return tell(steps)
    rebooted = os.path.exists(PROGRESS)
    coming.prepare()
    good = tell(AFTER if rebooted else BEFORE)
    if not good:
        show_journal()
    elif rebooted:
        print(f"{MARK}end of the story", flush=True)
    else:
        told.write(PROGRESS, json.dumps({"boot": told.read("/proc/sys/kernel/random/boot_id")}))
        told.sh("sync; systemctl reboot")
        # The next boot begins with the steps that come after.
        time.sleep(600)
    return good


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
