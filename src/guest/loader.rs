//! The entries of a boot loader: what its menu offers, and which kernel each of them starts.
//!
//! ```text
//! grub.cfg         menuentry 'Debian' --class debian {     GRUB 2: a script, of which no condition is evaluated
//!                    linux /vmlinuz-6.1.0 root=UUID=… ro
//!                    initrd /initrd.img-6.1.0
//!                  }
//! menu.lst         title CentOS (2.6.18-8.el5xen)          GRUB legacy: `module` where a hypervisor is the `kernel`
//!                  kernel /xen.gz-2.6.18
//!                  module /vmlinuz-2.6.18-8.el5xen ro
//!                  module /initrd-2.6.18-8.el5xen.img
//! extlinux.conf    LABEL linux                             Syslinux: words in any case
//!                  MENU LABEL ^Alpine
//!                  LINUX vmlinuz-virt
//! entries/*.conf   title Fedora Linux 40                   Boot Loader Specification, type 1: an entry a file
//!                  linux /vmlinuz-6.8.5
//! ```
//!
//! Entries that start no kernel (a firmware's menu, another system's loader) are left out. Nothing is opened: the paths
//! are as the loader reads them, from the start of the partition that it reads.

/// No menu of an honest guest has more.
pub const ENTRIES_MAX: usize = 256;

/// The language of a file with several entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `grub.cfg`.
    Grub,
    /// `menu.lst`, `grub.conf`.
    GrubLegacy,
    /// `extlinux.conf`, `syslinux.cfg`.
    Syslinux,
}

/// An entry of a menu.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// What the menu shows.
    pub title: String,
    /// What is started first, and starts the kernel.
    pub hypervisor: Option<String>,
    /// The kernel.
    pub kernel: String,
    /// Its ramdisks.
    pub ramdisks: Vec<String>,
    /// Its command line.
    pub options: String,
}

impl Entry {
    fn titled(title: &str) -> Self {
        Self { title: title.to_owned(), ..Self::default() }
    }

    /// `rest` is a file and its command line.
    fn start(&mut self, rest: &str) {
        let rest = without_flags(rest);
        let (file, options) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        self.kernel = unquoted(file);
        options.trim().clone_into(&mut self.options);
    }

    /// The first module of a hypervisor is the kernel, the others are ramdisks.
    fn module(&mut self, rest: &str) {
        if self.hypervisor.is_none() {
            self.hypervisor = Some(std::mem::take(&mut self.kernel));
            self.start(rest);
        } else {
            let first = without_flags(rest).split_whitespace().next();
            self.ramdisks.extend(first.map(unquoted));
        }
    }

    fn ramdisks(&mut self, rest: &str, separators: &[char]) {
        let is_separator = |letter: char| letter.is_whitespace() || separators.contains(&letter);
        let words = without_flags(rest).split(is_separator).filter(|word| !word.is_empty());
        self.ramdisks.extend(words.map(unquoted));
    }
}

/// The entries of a file, in its order.
pub fn entries(style: Style, text: &[u8]) -> Vec<Entry> {
    let text = String::from_utf8_lossy(text);
    let mut all: Vec<Entry> = Vec::new();
    let mut is_open = false;
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let title = match style {
            Style::Grub if word == "menuentry" => Some(first_word(rest)),
            Style::GrubLegacy if word.eq_ignore_ascii_case("title") => Some(rest.to_owned()),
            Style::Syslinux if word.eq_ignore_ascii_case("label") => Some(rest.to_owned()),
            _ => None,
        };
        if let Some(title) = title {
            if all.len() > ENTRIES_MAX {
                break;
            }
            all.push(Entry::titled(&title));
            is_open = true;
        } else if style == Style::Grub && word == "}" {
            is_open = false;
        } else if let Some(entry) = all.last_mut().filter(|_| is_open) {
            match style {
                Style::Grub => grub(entry, word, rest),
                Style::GrubLegacy => grub_legacy(entry, &word.to_ascii_lowercase(), rest),
                Style::Syslinux => syslinux(entry, &word.to_ascii_lowercase(), rest),
            }
        }
    }
    all.retain(|entry| !entry.kernel.is_empty());
    all.truncate(ENTRIES_MAX);
    all
}

/// The entry of a file of the Boot Loader Specification; `name` is what it is called where it has no title.
pub fn specified(name: &str, text: &[u8]) -> Option<Entry> {
    let text = String::from_utf8_lossy(text);
    let mut entry = Entry::titled(name);
    for line in text.lines().map(str::trim) {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        match word {
            "title" => rest.clone_into(&mut entry.title),
            // A program of the firmware that is kernel and ramdisk in one.
            "linux" | "efi" | "uki" => rest.clone_into(&mut entry.kernel),
            "initrd" => entry.ramdisks(rest, &[]),
            "options" => {
                let gap = if entry.options.is_empty() { "" } else { " " };
                entry.options += gap;
                entry.options += rest;
            }
            _ => {}
        }
    }
    (!entry.kernel.is_empty()).then_some(entry)
}

fn grub(entry: &mut Entry, word: &str, rest: &str) {
    match word {
        "linux" | "linux16" | "linuxefi" | "multiboot" | "multiboot2" | "xen_hypervisor" => {
            entry.start(rest);
        }
        "module" | "module2" | "xen_module" => entry.module(rest),
        "initrd" | "initrd16" | "initrdefi" => entry.ramdisks(rest, &[]),
        _ => {}
    }
}

fn grub_legacy(entry: &mut Entry, word: &str, rest: &str) {
    match word {
        "kernel" => entry.start(rest),
        "module" => entry.module(rest),
        "initrd" => entry.ramdisks(rest, &[]),
        _ => {}
    }
}

fn syslinux(entry: &mut Entry, word: &str, rest: &str) {
    let said = |line: &str, word: &str| {
        let (first, rest) = line.split_once(char::is_whitespace)?;
        first.eq_ignore_ascii_case(word).then(|| rest.trim().to_owned())
    };
    match word {
        // The letter behind a caret is the key that chooses the entry.
        "menu" => {
            if let Some(title) = said(rest, "label") {
                entry.title = title.replace('^', "");
            }
        }
        "kernel" | "linux" => entry.start(rest),
        "initrd" => entry.ramdisks(rest, &[',']),
        "append" => {
            let is_ramdisk = |word: &&str| word.starts_with("initrd=");
            for word in rest.split_whitespace().filter(is_ramdisk) {
                entry.ramdisks(word.trim_start_matches("initrd="), &[',']);
            }
            let others = rest.split_whitespace().filter(|word| !is_ramdisk(word));
            entry.options = others.collect::<Vec<_>>().join(" ");
        }
        _ => {}
    }
}

/// `rest` without the `--flags` in front.
fn without_flags(mut rest: &str) -> &str {
    while rest.starts_with("--") {
        rest = rest.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
    }
    rest
}

/// The first word, without the quotes that a shell takes off.
fn first_word(text: &str) -> String {
    let mut word = String::new();
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None | Some('"'), '\\') => word.extend(letters.next()),
            (None, _) if letter.is_whitespace() || letter == '{' => break,
            _ => word.push(letter),
        }
    }
    word
}

fn unquoted(word: &str) -> String {
    word.trim_matches(['\'', '"']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(style: Style, text: &str) -> Vec<String> {
        entries(style, text.as_bytes())
            .into_iter()
            .map(|entry| {
                let before = entry.hypervisor.map_or(String::new(), |first| format!("{first} > "));
                let ramdisks = entry.ramdisks.join("+");
                format!("{}: {before}{} [{}] {ramdisks}", entry.title, entry.kernel, entry.options)
            })
            .collect()
    }

    #[test]
    fn a_grub_menu_gives_its_kernels_those_of_submenus_too() {
        let text = "\
set default=0
linux /not-in-an-entry
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple' {
\tif [ x$feature_platform_search_hint = xy ]; then
\t  search --no-floppy --fs-uuid --set=root 6a1d2c3b
\tfi
\tlinux\t/boot/vmlinuz-6.1.0 root=UUID=6a1d ro  quiet
\tinitrd\t/boot/intel-ucode.img /boot/initrd.img-6.1.0
}
linux /behind-an-entry
submenu 'Advanced options' {
  menuentry \"it's \\\"old\\\"\" {
    linux16 \"/vmlinuz\"
  }
}
menuentry 'UEFI Firmware Settings' {
  fwsetup
}
menuentry 'Xen'{
  multiboot2 /xen.gz placeholder
  module2 /vmlinuz-6.1.0 placeholder root=/dev/xvda
  module2 --nounzip /initrd.img-6.1.0
}
";
        assert_eq!(
            lines(Style::Grub, text),
            [
                "Debian GNU/Linux: /boot/vmlinuz-6.1.0 [root=UUID=6a1d ro  quiet] \
                 /boot/intel-ucode.img+/boot/initrd.img-6.1.0",
                "it's \"old\": /vmlinuz [] ",
                "Xen: /xen.gz > /vmlinuz-6.1.0 [placeholder root=/dev/xvda] /initrd.img-6.1.0",
            ]
        );
    }

    #[test]
    fn an_old_menu_gives_the_kernel_behind_its_hypervisor() {
        let text = "\
default=0
#title no
title CentOS (2.6.18-8.el5xen)
\troot (hd0,0)
\tkernel /xen.gz-2.6.18-8.el5
\tmodule /vmlinuz-2.6.18-8.el5xen ro root=/dev/VolGroup00/LogVol00
\tmodule /initrd-2.6.18-8.el5xen.img
title Other
\trootnoverify (hd0,1)
\tchainloader +1
title Plain
\tkernel --no-mem-option (hd0,0)/vmlinuz ro
\tinitrd (hd0,0)/initrd
";
        assert_eq!(
            lines(Style::GrubLegacy, text),
            [
                "CentOS (2.6.18-8.el5xen): /xen.gz-2.6.18-8.el5 > /vmlinuz-2.6.18-8.el5xen \
                 [ro root=/dev/VolGroup00/LogVol00] /initrd-2.6.18-8.el5xen.img",
                "Plain: (hd0,0)/vmlinuz [ro] (hd0,0)/initrd",
            ]
        );
    }

    #[test]
    fn a_syslinux_menu_is_read_in_any_case() {
        let text = "\
DEFAULT virt
LABEL virt
  MENU LABEL ^Linux virt
  LINUX vmlinuz-virt
  INITRD a.img,initramfs-virt
  APPEND root=UUID=1 quiet
label old
  kernel /vmlinuz
  append initrd=/initrd.gz ro
label local
  localboot 0
";
        assert_eq!(
            lines(Style::Syslinux, text),
            [
                "Linux virt: vmlinuz-virt [root=UUID=1 quiet] a.img+initramfs-virt",
                "old: /vmlinuz [ro] /initrd.gz",
            ]
        );
    }

    #[test]
    fn an_entry_of_the_specification_is_a_file() {
        let text =
            b"# x\ntitle Fedora\nlinux /vmlinuz-6.8\ninitrd /a\ninitrd /b\noptions ro\noptions quiet\n";
        let entry = specified("f.conf", text).expect("it has a kernel");
        assert_eq!((&entry.title[..], &entry.options[..]), ("Fedora", "ro quiet"));
        assert_eq!(entry.ramdisks, ["/a", "/b"]);
        assert_eq!(specified("f.conf", b"efi /EFI/x.efi\n").expect("kernel").title, "f.conf");
        assert_eq!(specified("f.conf", b"title no kernel\n"), None);
    }

    #[test]
    fn a_menu_without_an_end_is_cut() {
        let text = "title x\nkernel /y\n".repeat(100_000);
        assert_eq!(entries(Style::GrubLegacy, text.as_bytes()).len(), ENTRIES_MAX);
    }
}
