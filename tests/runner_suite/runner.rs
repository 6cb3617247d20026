//! The runner in guests of three shells: a fake root over the host's own, in namespaces of its own, where it is root and
//! sees its own processes alone. What it wrote is read from outside.

use crate::fake::{Guest, SHELLS, each_shell};

#[test]
fn jobs_run_in_order_and_write_both_streams_apart() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-one", "#!/bin/sh\necho out one; echo err one >&2; pwd\n");
        guest.script("11-two", "#!/bin/sh\necho \"out $(cat)$A\"; exit 7\n");
        guest.script("9.x", "#!/bin/sh\necho no name of run-parts\n");
        guest.write("etc/xenjobs.d/12-plain", "#!/bin/sh\necho not executable\n");
        let console = guest.boot();
        assert_eq!(guest.result("10-one/stdout"), "out one\n/\n");
        assert_eq!(guest.result("10-one/stderr"), "err one\n");
        assert_eq!(guest.result("11-two/stdout"), "out \n");
        for line in ["out one", "err one", "AUTOXEN-RESULT job=10-one exit=0"] {
            assert!(console.lines().any(|found| found == line), "{shell}: {line}: {console}");
        }
        assert!(!console.contains("no name") && !console.contains("not executable"), "{console}");
        let ends = console.find("exit=0").unwrap() < console.find("exit=7").unwrap();
        assert!(ends, "{console}");
        assert!(console.contains("\nAUTOXEN-RESULT exit=7\n"), "{console}");
        let job = guest.job("11-two");
        assert_eq!((&job["exit"], &job["signal"]), (&7.into(), &serde_json::Value::Null));
        assert_eq!((&job["finished"], &job["timed_out"]), (&true.into(), &false.into()));
        assert_eq!(job["command"], "/etc/xenjobs.d/11-two");
        let run = guest.json("run.json");
        assert_eq!((&run["id"], &run["finished"]), (&"3f".into(), &true.into()));
        assert!(run["end"].as_u64() >= run["start"].as_u64(), "{run}");
        assert_eq!(guest.poweroffs(), ["poweroff"], "{shell}");
    });
}

#[test]
fn a_failing_job_stops_the_rest_only_where_its_settings_say_so() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-fails", "#!/bin/sh\nexit 3\n");
        guest.script("11-stops", "#!/bin/sh\nkill -9 $$\n");
        guest.settings("11-stops", "onfailure stop\n");
        guest.script("12-never", "#!/bin/sh\necho ran\n");
        let console = guest.boot();
        assert!(!guest.has("12-never"), "{shell}");
        let job = guest.job("11-stops");
        assert_eq!((&job["exit"], &job["signal"]), (&serde_json::Value::Null, &9.into()));
        assert_eq!(guest.json("run.json")["reason"], "failed job");
        assert!(console.contains("job=11-stops exit=137 signal=9\n"), "{console}");
        assert!(console.contains("\nAUTOXEN-RESULT exit=3\n"), "{console}");
    });
}

#[test]
fn a_job_that_hangs_is_ended_with_all_that_it_has_started() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        // One child in its session, one in its own, one that has left both.
        guest.script(
            "10-hangs",
            "#!/bin/sh\ntrap '' TERM\necho begun\nsleep 1001 &\nsetsid sleep 1002 &\n\
             (setsid sh -c 'sleep 1003' &)\nsleep 1004\nwhile :; do sleep 1005; done\n",
        );
        guest.settings("10-hangs", "timeout 1\n");
        guest.script(
            "11-looks",
            "#!/bin/sh\nps -ef | grep 'sleep 100[0-9]' | grep -v grep\nexit 0\n",
        );
        let console = guest.boot();
        let job = guest.job("10-hangs");
        assert_eq!((&job["exit"], &job["timed_out"]), (&124.into(), &true.into()));
        assert_eq!(guest.result("10-hangs/stdout"), "begun\n");
        assert_eq!(guest.result("11-looks/stdout"), "", "{shell}");
        assert!(console.contains("job=10-hangs exit=124 timed-out\n"), "{console}");
        assert_eq!(guest.poweroffs(), ["poweroff"], "{shell}");
    });
}

#[test]
fn a_child_that_is_left_behind_does_not_hold_the_runner_up() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-daemon", "#!/bin/sh\nsetsid sleep 1000 &\necho done\n");
        guest.boot();
        assert_eq!(guest.result("10-daemon/stdout"), "done\n");
        assert_eq!(guest.job("10-daemon")["exit"], 0, "{shell}");
    });
}

#[test]
fn no_job_runs_twice_unless_it_is_to_run_again() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-once", "#!/bin/sh\necho x >> /var/lib/once\n");
        guest.script("11-always", "#!/bin/sh\necho x >> /var/lib/always\n");
        guest.settings("11-always", "again yes\n");
        guest.boot();
        guest.boot();
        assert_eq!(guest.read("var/lib/once"), "x\n", "{shell}");
        assert_eq!(guest.read("var/lib/always"), "x\nx\n", "{shell}");
        assert_eq!(guest.poweroffs().len(), 2);
        // One that was ended in the middle counts as run, on the disk as in the root.
        guest.remove("var/lib/autoxen/ran");
        guest.boot();
        assert_eq!(guest.read("var/lib/once"), "x\n", "{shell}");
        // Another preparation is another run.
        guest.remove("var/lib/autoxen/results");
        guest.results_directory();
        guest.write("etc/autoxen/run.conf", "id 40\nresults AUTOXEN_RES\n");
        guest.boot();
        assert_eq!(guest.read("var/lib/once"), "x\nx\n", "{shell}");
    });
}

#[test]
fn a_second_call_in_one_start_of_the_machine_does_nothing() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-calls", "#!/bin/sh\n/etc/autoxen/run-jobs\necho back\n");
        guest.boot();
        let out = guest.result("10-calls/stdout");
        assert_eq!(out, "autoxen: the jobs have been started already\nback\n", "{shell}");
        assert_eq!(guest.poweroffs(), ["poweroff"], "{shell}");
    });
}

#[test]
fn outputs_are_staged_out_with_their_modes_whatever_their_names_are() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script(
            "10-makes",
            "#!/bin/sh\nmkdir -p '/srv/my out/deep' && cd '/srv/my out' || exit 1\n\
             echo a > 'a b.dat'; echo d > -d.dat; echo e > deep/e; ln -s 'a b.dat' deep/link\n\
             chmod 640 deep/e; touch -d '2001-02-03 04:05:06 UTC' deep/e\necho n > 'new\nline.dat'\n\
             echo '\"' > 'q\"\\.dat'\n",
        );
        guest.settings(
            "10-makes",
            "output /srv/my out/*.dat\noutput /srv/my out/deep\noutput /srv/no \"such\"\\\\ *\noutput /var/lib\n",
        );
        let console = guest.boot();
        let at = |name: &str| guest.result(&format!("10-makes/outputs/srv/my out/{name}"));
        assert_eq!(
            (at("a b.dat"), at("-d.dat"), at("deep/e")),
            ("a\n".into(), "d\n".into(), "e\n".into())
        );
        assert_eq!((at("new\nline.dat"), at("q\"\\.dat")), ("n\n".into(), "\"\n".into()));
        let place = guest.path("var/lib/autoxen/results/10-makes/outputs/srv/my out/deep");
        assert_eq!(std::fs::read_link(place.join("link")).unwrap().as_os_str(), "a b.dat");
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata(place.join("e")).unwrap();
        assert_eq!((meta.mode() & 0o777, meta.mtime()), (0o640, 981_173_106), "{shell}");
        let job = guest.job("10-makes");
        assert_eq!(
            job["missing"],
            serde_json::json!(["/srv/no \"such\"\\\\ *", "/var/lib"]),
            "{console}"
        );
        assert!(console.contains("/var/lib holds the results disk itself"), "{console}");
    });
}

#[test]
fn a_full_disk_is_told_and_the_exit_status_kept() {
    each_shell(|shell| {
        let guest = Guest::new(shell).with_small_disk(600);
        guest.script(
            "10-writes",
            "#!/bin/sh\nhead -c 2000000 /dev/zero | tr '\\0' x\necho behind >&2\nexit 5\n",
        );
        guest.boot();
        let job = guest.job("10-writes");
        assert_eq!((&job["exit"], &job["full"]), (&5.into(), &true.into()), "{shell}");
        assert_eq!(guest.json("run.json")["reason"], "disk full", "{shell}");
    });
}

#[test]
fn without_a_disk_the_console_has_all() {
    for shell in SHELLS {
        let guest = Guest::new(shell);
        guest.write("etc/autoxen/run.conf", "id 3f\n");
        guest.script("10-job", "#!/bin/sh\necho to the console\nexit 9\n");
        let console = guest.boot();
        assert!(console.contains("to the console\n"), "{console}");
        assert!(console.contains("AUTOXEN-RESULT job=10-job exit=9\n"), "{console}");
        assert!(!guest.has("10-job"));
        assert_eq!(guest.poweroffs(), ["poweroff"], "{shell}");
    }
}

#[test]
fn a_guest_that_is_destroyed_leaves_what_its_job_had() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-long", "#!/bin/sh\necho so far\nsleep 1000\n");
        guest.destroy_when(|guest| {
            guest.has("10-long/stdout") && guest.result("10-long/stdout") == "so far\n"
        });
        let job = guest.job("10-long");
        assert_eq!((&job["finished"], &job["exit"]), (&false.into(), &serde_json::Value::Null));
        assert_eq!(guest.json("run.json")["finished"], false, "{shell}");
        assert!(guest.poweroffs().is_empty());
    });
}

#[test]
fn a_job_that_ends_the_runner_does_not_keep_the_machine_up() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-kills", "#!/bin/sh\nkill -9 $PPID\nexit 0\n");
        let console = guest.boot();
        assert!(console.contains("the runner was ended"), "{shell}: {console}");
        assert_eq!(guest.poweroffs(), ["poweroff"], "{shell}");
    });
}

#[test]
fn a_machine_is_kept_or_started_again_as_its_settings_say() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-job", "#!/bin/sh\n");
        guest.write("etc/autoxen/run.conf", "id 3f\nresults AUTOXEN_RES\nwhendone reboot\n");
        guest.boot();
        assert_eq!(guest.poweroffs(), ["reboot"], "{shell}");
        // The jobs did run: now it stays.
        guest.boot();
        assert_eq!(guest.poweroffs(), ["reboot"], "{shell}");
        guest.write("etc/autoxen/run.conf", "id 40\nwhendone keep\n");
        guest.boot();
        assert_eq!(guest.poweroffs(), ["reboot"], "{shell}");
    });
}

#[test]
fn at_the_limit_the_job_is_ended_and_the_machine_goes() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.write("etc/autoxen/run.conf", "id 3f\nresults AUTOXEN_RES\nwhendone keep\nlimit 2\n");
        guest.script("10-hangs", "#!/bin/sh\nsleep 1000\n");
        guest.script("11-never", "#!/bin/sh\n");
        guest.boot_until_poweroff();
        assert_eq!(guest.job("10-hangs")["timed_out"], true, "{shell}");
        assert_eq!(guest.json("run.json")["reason"], "limit", "{shell}");
        assert!(!guest.has("11-never"));
    });
}

#[test]
fn a_job_runs_as_its_user_or_says_why_it_cannot() {
    each_shell(|shell| {
        let guest = Guest::new(shell);
        guest.script("10-nobody", "#!/bin/sh\necho hi\n");
        guest.settings("10-nobody", "user no-such-user\n");
        guest.script("11-su", "#!/bin/sh\necho hi; exit 4\n");
        guest.settings("11-su", "user root\n");
        guest.boot();
        assert_eq!(guest.job("10-nobody")["exit"], 126, "{shell}");
        assert_eq!(
            guest.result("10-nobody/stderr"),
            "autoxen: the guest has no user no-such-user\n"
        );
        assert_eq!(guest.result("11-su/stdout"), "su -s /bin/sh root -c\nhi\n", "{shell}");
        assert_eq!(guest.job("11-su")["exit"], 4, "{shell}");
    });
}
