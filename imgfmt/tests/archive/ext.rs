//! An ext file system as a source, against the kernel's view of it.

use std::path::Path;

use imgfmt::archive::{ExtSource, Source, TarSink};
use imgfmt::{Error, Image, Result, Volume, ext::Fs};

use crate::judge::{Mount, run, sparse_file, text};
use crate::support::{attributes, nasty_tree, of_dir, of_tar, sorted, unlocked};

/// Open an image to read it.
pub(crate) fn opened<R>(path: &Path, f: impl FnOnce(&Fs<'_>) -> R) -> R {
    let image = unlocked(|| Image::open(path)).expect("the image opens");
    f(&Fs::open(Volume::whole(&image)).expect("the file system opens"))
}

fn with_nasty_tree(dir: &Path, options: &[&str]) -> (std::path::PathBuf, String) {
    let image = sparse_file(dir, "image", 64 << 20);
    let mut all = vec!["-q", "-F"];
    all.extend(options);
    all.push(text(&image));
    run("mke2fs", &all);
    let at = dir.join("mounted");
    std::fs::create_dir(&at).expect("a directory");
    let mount = Mount::image(&image, &at);
    nasty_tree(&at);
    attributes(&at);
    drop(mount);
    let mount = Mount::image(&image, &at);
    let expected = of_dir(&at);
    drop(mount);
    (image, expected)
}

#[test]
fn a_file_system_has_what_the_kernel_sees_in_it() {
    for options in [
        &["-t", "ext4"][..],
        &["-t", "ext4", "-b", "1024", "-O", "inline_data"],
        &["-t", "ext2", "-I", "256"],
    ] {
        let dir = tempfile::tempdir().expect("a directory");
        let (image, expected) = with_nasty_tree(dir.path(), options);
        let ours = opened(&image, |fs| sorted(&mut ExtSource::new(fs).with_lost_and_found()));
        // Where a file of the kernel's has data that it shows as a hole, or the other way round, is its own affair.
        let plain = |text: &str| text.replace(" sparse", "");
        assert_eq!(plain(&ours), plain(&expected), "{options:?}");
        assert!(
            ours.lines().any(|line| line.starts_with("\"sparse\"") && line.contains(" sparse"))
        );
        assert!(ours.lines().any(|line| line.starts_with("\"hole\"") && line.contains(" sparse")));
        let without = opened(&image, |fs| sorted(&mut ExtSource::new(fs)));
        assert_eq!(without.lines().count() + 1, ours.lines().count());
        assert!(!without.contains("lost+found"));
    }
}

#[test]
fn a_part_of_a_file_system_has_a_root_of_its_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let (image, _) = with_nasty_tree(dir.path(), &["-t", "ext4"]);
    opened(&image, |fs| {
        let deep = sorted(&mut ExtSource::new(fs).at("/deep"));
        assert_eq!(deep.lines().count(), 4);
        assert!(deep.starts_with("\"\" 1777 0:0 "), "{deep}");
        let block = sorted(&mut ExtSource::new(fs).at("/block"));
        assert!(block.starts_with("\"block\" 6751 3000000:3000001 "), "{block}");
        let none = ExtSource::new(fs).at("/none").feed(&mut TarSink::new(Vec::new()), &mut |_| {});
        assert!(matches!(none, Err(Error::NotFound(_))));
    });
}

#[test]
fn an_export_is_the_same_bytes_each_time_and_the_same_tree() -> Result<()> {
    let dir = tempfile::tempdir().expect("a directory");
    let (image, _) = with_nasty_tree(dir.path(), &["-t", "ext4"]);
    let export = || {
        opened(&image, |fs| {
            let mut sink = TarSink::new(Vec::new());
            ExtSource::new(fs).feed(&mut sink, &mut |_| {})?;
            sink.finish()
        })
    };
    let (first, second) = (export()?, export()?);
    assert!(first == second);
    let direct = opened(&image, |fs| sorted(&mut ExtSource::new(fs)));
    let mut packed: Vec<String> = of_tar(&first)?.lines().map(str::to_owned).collect();
    packed.sort_unstable();
    assert_eq!(packed.join("\n"), direct);
    Ok(())
}
