//! A job description: from bytes to a document (`xmf_check`), and from that to a plan (`plan`).
//!
//! A document has 90 jobs at most, and 1 MiB. One of 1,000 jobs is read to its end all the same, for all findings.

#[path = "common/timing.rs"]
mod timing;

use std::hint::black_box;

use autoxen::facts::{Facts, ImageFacts, RootFacts, VolumeFacts};
use autoxen::guest::init::Init;
use autoxen::plan::{Options, plan};
use autoxen::xmf::{self, MAX_LEN};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// The most jobs that a document may have.
const MOST: usize = 90;

/// A job description of `count` jobs, of which each has `lines` lines of script.
fn document(count: usize, lines: usize) -> String {
    let job = |nr: usize| {
        let line = "[ \"$EVENTS\" -gt 0 ] &amp;&amp; ./simulate --from &lt; events.dat\n";
        format!(
            "<job name=\"job-{nr}\" user=\"grid\" timeout=\"3600\">\n\
             <command>#!/bin/sh\n{}</command>\n\
             <environment name=\"EVENTS\">{nr}</environment>\n\
             <environment name=\"LABEL\">run {nr}, 1 &lt; 2</environment>\n\
             </job>\n",
            line.repeat(lines)
        )
    };
    let jobs: String = (0..count).map(job).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xenmetaconfig>\n\
         <general><memory>256</memory><name>many</name></general>\n\
         <imagefile><filesystemtype>ext4</filesystemtype><mountpoint>/</mountpoint>\
         <blockdevice>xvda</blockdevice><url>root.img</url></imagefile>\n{jobs}</xenmetaconfig>\n"
    )
}

/// Documents by name, and the errors that each of them has.
fn documents() -> [(&'static str, String, &'static [&'static str]); 4] {
    [
        ("hello", include_str!("../schema/examples/hello.xml").to_owned(), &[]),
        ("90_jobs", document(MOST, 4), &[]),
        ("90_jobs_of_10K", document(MOST, 170), &[]),
        ("1000_jobs_refused", document(1000, 4), &["more than 90 jobs"]),
    ]
}

fn checks(c: &mut Criterion) {
    let mut group = c.benchmark_group("xmf_check");
    for (name, text, errors) in documents() {
        assert!(text.len() <= MAX_LEN, "{name}: {} bytes", text.len());
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter_with_large_drop(|| {
                let checked = xmf::check(black_box(text.as_bytes()));
                assert_eq!(checked.document.is_some(), errors.is_empty());
                checked
            });
        });
        let found = xmf::check(text.as_bytes()).diagnostics;
        let found: Vec<&str> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(found, errors, "{name}");
    }
    group.finish();
}

/// A Debian root, as it is found when its image is looked at.
fn facts() -> Facts {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let volume = VolumeFacts { filesystem: Some("ext4".into()), ..VolumeFacts::default() };
    let root = RootFacts {
        fstab: Some(b"/dev/sda1 / ext4 defaults 0 1\n".to_vec()),
        boot: names(&["vmlinuz-6.1.0-18-amd64", "initrd.img-6.1.0-18-amd64"]),
        modules: names(&["6.1.0-18-amd64"]),
        inits: vec![Init::Systemd],
        ..RootFacts::default()
    };
    let image = ImageFacts {
        path: Some("/stock/root.img".into()),
        len: 1 << 30,
        volumes: vec![volume],
        root: Some(root),
        ..ImageFacts::default()
    };
    Facts { images: vec![image], ..Facts::default() }
}

fn plans(c: &mut Criterion) {
    let document = xmf::check(document(MOST, 4).as_bytes()).document.expect("a sound document");
    let facts = facts();
    let options = Options { name_default: "guest".into(), ..Options::default() };
    let mut group = c.benchmark_group("plan");
    group.throughput(Throughput::Elements(MOST as u64));
    group.bench_function("90_jobs", |b| {
        b.iter_with_large_drop(|| {
            let plan = plan(black_box(&document), &facts, &options).expect("nothing in the way");
            assert_eq!(plan.jobs.len(), MOST);
            plan
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = timing::criterion();
    targets = checks, plans
}
criterion_main!(benches);
