//! A fake root for the runner: directories of its own, with the host's programs mounted into it, in a user, a mount and a
//! PID namespace. No privilege is needed. `/usr/local/sbin`, which the runner looks into first, has the programs that would
//! end the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The shells that guests have.
pub(crate) const SHELLS: [&str; 3] = ["dash", "bash --posix", "busybox ash"];

/// The longest that a start of a guest may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Do the same with each shell, all at once.
pub(crate) fn each_shell(test: impl Fn(&'static str) + Sync) {
    std::thread::scope(|scope| {
        for shell in SHELLS {
            scope.spawn(|| test(shell));
        }
    });
}

/// A guest that can be started again and again.
pub(crate) struct Guest {
    directory: tempfile::TempDir,
    shell: &'static str,
    /// KiB of the results disk, which is a directory of the root without it.
    disk: Option<u32>,
}

impl Guest {
    /// A guest without a job, with an empty results disk.
    pub(crate) fn new(shell: &'static str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let guest = Self { directory, shell, disk: None };
        let host = ["bin", "sbin", "lib", "lib32", "lib64", "usr", "dev", "proc", "run"];
        for path in host.iter().chain(&["etc", "root", "srv", "tmp", "var/lib"]) {
            fs::create_dir_all(guest.path(path)).expect("a directory");
        }
        for path in ["disk", "kept"] {
            fs::create_dir(guest.directory.path().join(path)).expect("a directory");
        }
        guest.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        guest.write("etc/group", "root:x:0:\n");
        guest.write("etc/autoxen/run.conf", "id 3f\nresults AUTOXEN_RES\ndevice none\n");
        guest.program("etc/autoxen/run-jobs", autoxen::guest::runner::TEXT);
        for name in ["poweroff", "reboot", "shutdown", "halt"] {
            guest.program(
                &format!("sbin.fake/{name}"),
                &format!("#!/bin/sh\necho {name} >> /ended\n"),
            );
        }
        // A user namespace of one user has nobody to become.
        guest.program("sbin.fake/su", "#!/bin/sh\necho \"su $1 $2 $3 $4\"\nexec sh -c \"$5\"\n");
        guest.results_directory();
        guest
    }

    /// The results disk is a file system of so many KiB.
    pub(crate) fn with_small_disk(mut self, kib: u32) -> Self {
        self.disk = Some(kib);
        self
    }

    /// Make the directory that stands for the results disk.
    pub(crate) fn results_directory(&self) {
        self.write("var/lib/autoxen/results/.autoxen-results", "");
    }

    /// A path of the guest.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path)
    }

    /// Write a file of the guest.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("directories");
        fs::write(path, text).expect("a file");
    }

    fn program(&self, path: &str, text: &str) {
        self.write(path, text);
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    /// A program that comes before the host's.
    pub(crate) fn tool(&self, name: &str, text: &str) {
        self.program(&format!("sbin.fake/{name}"), text);
    }

    /// Add a job.
    pub(crate) fn script(&self, name: &str, text: &str) {
        self.program(&format!("etc/xenjobs.d/{name}"), text);
    }

    /// The settings of a job.
    pub(crate) fn settings(&self, name: &str, text: &str) {
        self.write(&format!("etc/autoxen/jobs/{name}.conf"), text);
    }

    /// A file of the guest.
    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Remove what the guest has written.
    pub(crate) fn remove(&self, path: &str) {
        fs::remove_dir_all(self.path(path)).expect("it was there");
    }

    fn on_disk(&self, path: &str) -> PathBuf {
        match self.disk {
            Some(_) => self.directory.path().join("kept").join(path),
            None => self.path("var/lib/autoxen/results").join(path),
        }
    }

    /// A text of the results disk.
    pub(crate) fn result(&self, path: &str) -> String {
        fs::read_to_string(self.on_disk(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Whether the results disk has it.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.on_disk(path).exists()
    }

    /// A JSON file of the results disk.
    pub(crate) fn json(&self, path: &str) -> Value {
        let text = self.result(path);
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}"))
    }

    /// What the runner says of a job.
    pub(crate) fn job(&self, name: &str) -> Value {
        self.json(&format!("{name}/job.json"))
    }

    /// The programs that were called to end the machine.
    pub(crate) fn poweroffs(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("ended")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn start(&self, program: &str) -> Running {
        let directory = self.directory.path().display();
        let disk = self.disk.map_or(String::new(), |kib| {
            format!(
                "mount -t tmpfs -o size={kib}k none $d/disk\n: > $d/disk/.autoxen-results\n\
                 mount --bind $d/disk $d/root/var/lib/autoxen/results\n"
            )
        });
        let keep = match self.disk {
            Some(_) => "cp -a $d/disk/. $d/kept/",
            None => ":",
        };
        let script = format!(
            "set -e\nd={directory}\n\
             for host in bin sbin lib lib32 lib64 usr; do [ ! -d /$host ] || mount --rbind /$host $d/root/$host; done\n\
             mount --bind $d/root/sbin.fake $d/root/usr/local/sbin\n\
             mount -t proc proc $d/root/proc\nmount --rbind /dev $d/root/dev\n\
             mount -t tmpfs none $d/root/run\n{disk}set +e\n\
             chroot $d/root sh -c '{program}' < /dev/null\n{keep}\n"
        );
        let console = fs::File::create(self.console()).expect("a file");
        let child = Command::new("unshare")
            .args(["-r", "-m", "-p", "-f", "--kill-child", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(console.try_clone().expect("a file"))
            .stderr(console)
            .spawn()
            .expect("`unshare` is needed: apt-get install util-linux");
        Running(child)
    }

    fn console(&self) -> PathBuf {
        self.directory.path().join("console")
    }

    /// Start the guest, and wait for the end of its runner. What the console shows.
    pub(crate) fn boot(&self) -> String {
        self.boot_with(&self.runner())
    }

    fn runner(&self) -> String {
        format!("exec {} /etc/autoxen/run-jobs", self.shell)
    }

    /// Start the guest with this script as its init, in `sh`. What the console shows.
    pub(crate) fn boot_with(&self, program: &str) -> String {
        let mut child = self.start(&program.replace('\'', "'\\''"));
        wait_for("the end of the runner", || child.0.try_wait().expect("a child").is_some());
        fs::read_to_string(self.console()).expect("text")
    }

    /// Start the guest, and end it from outside when `is_ready`.
    pub(crate) fn destroy_when(&self, is_ready: impl Fn(&Self) -> bool) {
        let child = self.start(&self.runner());
        wait_for("what was to be seen", || is_ready(self));
        drop(child);
    }

    /// Start the guest, and end it from outside when it has asked for its end.
    pub(crate) fn boot_until_poweroff(&self) {
        self.destroy_when(|guest| !guest.poweroffs().is_empty());
    }
}

/// A guest that runs. It ends with this value, and all of its processes with it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Wait until `is_so`.
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "no sign of {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
