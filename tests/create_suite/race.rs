//! A stranger who changes the bundle all the while. What starts is what the manifest says, or nothing starts.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use autoxen::create::state::Record;
use autoxen::create::{Ask, Site};
use autoxen::domain::value::Name;
use autoxen::progress::Progress;

use crate::lab::{Lab, POLICY, give};

/// How often it is tried.
const ROUNDS: usize = 1000;

/// How long the image is: some pieces of a copy, so that a change can come between two of them.
const LEN: usize = 192 << 10;

/// One turn of the stranger's: the image is swapped, rewritten, truncated, linked elsewhere, and made right again.
fn meddle(turn: usize, image: &Path, good: &Path, evil: &Path, aside: &Path) {
    // Whatever fails, fails because the last turn was as bad.
    let _ = match turn % 7 {
        0 => fs::rename(evil, image),
        1 => symlink("/etc/shadow", aside).and_then(|()| fs::rename(aside, image)),
        2 => File::options().write(true).open(image).and_then(|file| file.set_len(7)),
        3 => fs::hard_link(good, aside).and_then(|()| fs::rename(aside, image)),
        4 => File::options()
            .write(true)
            .open(image)
            .and_then(|file| file.write_all_at(&[6; 4096], 8192)),
        5 => {
            File::options().append(true).open(image).and_then(|mut file| file.write_all(&[6; 4096]))
        }
        _ => fs::remove_file(image),
    };
    let _ = fs::remove_file(aside);
    put(evil, 6);
    put(aside, 5);
    let _ = fs::rename(aside, image);
}

fn put(path: &Path, fill: u8) {
    if fs::write(path, vec![fill; LEN]).is_ok() {
        give(path);
    }
}

/// Says that it is over when it is dropped.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// End the domain. Between fork and exec a child of another test holds the lock that we have open, which looks as an xl that
/// waits for its domain does; that is over at once.
fn destroy(site: &Site, record: &Record) {
    for _ in 0..500 {
        match site.destroy(&record.name, true) {
            Err(failure) if failure.to_string().ends_with("is between two starts") => {}
            outcome => {
                outcome.unwrap();
                return;
            }
        }
        std::thread::yield_now();
    }
    panic!("{} stays between two starts", record.name);
}

#[test]
fn of_a_thousand_starts_in_a_race_each_is_right_or_refused() {
    let lab = Lab::new();
    let mut bundle = lab.bundle("bundle");
    bundle.manifest["files"].as_array_mut().unwrap().remove(2);
    bundle.add("xvda.img", &vec![5; LEN]);
    bundle.write();
    let [image, good, evil, aside] =
        ["xvda.img", "../good", "../evil", "../aside"].map(|name| bundle.at(name));
    put(&good, 5);
    put(&evil, 6);
    let mut site = lab.site(POLICY);
    // An xl that is content with everything and has no domains, so that the time goes into the race.
    site.policy.xl = "/usr/bin/true".into();
    let (done, turns) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (mut started, mut refused) = (0, std::collections::BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                meddle(turns.fetch_add(1, Ordering::Relaxed), &image, &good, &evil, &aside);
            }
        });
        // However this ends, the stranger ends with it.
        let _end = End(&done);
        for round in 0..ROUNDS {
            let ask = Ask { bundle: bundle.path.clone(), name: None, prefix: false };
            let outcome = site
                .check(&ask)
                .and_then(|checked| checked.start(&site.policy, Progress::new(true)));
            match outcome {
                Ok(record) => {
                    started += 1;
                    let files = lab.own("state/domains/games-fit/files");
                    assert!(fs::read(files.join("xvda.img")).unwrap() == [5; LEN], "round {round}");
                    destroy(&site, &record);
                }
                Err(failure) => {
                    let text = failure.to_string();
                    let rule = text.strip_prefix("refused by ").unwrap_or(&text);
                    let rule = rule.split(": ").next().unwrap_or_default().to_owned();
                    *refused.entry(rule).or_default() += 1;
                }
            }
            assert_eq!(lab.stored(), [""; 0], "round {round}");
        }
    });
    let known = [
        "bundle.digest",
        "bundle.file",
        "bundle.hard_links",
        "bundle.length",
        "bundle.links",
        "bundles.owners",
    ];
    assert!(refused.keys().all(|rule| known.contains(&rule.as_str())), "{refused:?}");
    // Else there was no race.
    let turns = turns.into_inner();
    assert!(started > 0 && refused.contains_key("bundle.digest"), "{started} {refused:?} {turns}");
}

#[test]
fn two_at_once_do_not_both_get_the_last_place() {
    let lab = Lab::new();
    let bundle = lab.bundle("bundle");
    bundle.write();
    let policy = POLICY.replace("domains = 3", "domains = 1");
    for _ in 0..20 {
        let outcomes: Vec<Result<Name, String>> = std::thread::scope(|scope| {
            let start = |name: &'static str| {
                let (lab, policy, path) = (&lab, &policy, &bundle.path);
                scope.spawn(move || lab.start(&lab.site(policy), path, name))
            };
            let all = ["games-a", "games-b", "games-c"].map(start);
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let started: Vec<&Name> = outcomes.iter().flatten().collect();
        assert_eq!(started.len(), 1, "{outcomes:?}");
        lab.site(&policy).destroy(started[0], true).unwrap();
    }
}
