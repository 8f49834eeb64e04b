//! The program of this process: how to start it again, how it is shown in `ps`, and whose rights it has.
#![allow(unsafe_code, reason = "asks the C library and the kernel about the program")]

use std::ffi::{OsStr, OsString, c_int, c_void};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::OnceLock;

use nix::libc;
use nix::unistd::{getegid, geteuid, getgid, getuid};

use super::{named, read_text};

/// The image of this process, even if its file was replaced or removed.
const IMAGE: &str = "/proc/self/exe";

/// Whether this process may have rights that the process that started it lacks: through a set-user-ID or set-group-ID
/// bit, or a capability of the program's file, or a security module.
pub(crate) fn has_more_rights() -> bool {
    // SAFETY: the call takes a number, and reads a table that the kernel has set up at the process's start.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Whether another process of this program would gain these rights too. A security module need not grant them a second
/// time.
pub(crate) fn would_have_more_rights() -> bool {
    has_more_rights() && (getuid() != geteuid() || getgid() != getegid() || has_marked_file())
}

fn has_marked_file() -> bool {
    let set_ids = fs::metadata(IMAGE).is_ok_and(|file| file.mode() & (libc::S_ISUID | libc::S_ISGID) != 0);
    // SAFETY: both arguments are C strings, and without a buffer the call only returns the value's length.
    let capabilities = unsafe {
        libc::getxattr(c"/proc/self/exe".as_ptr(), c"security.capability".as_ptr(), ptr::null_mut(), 0)
    };
    set_ids || capabilities > 0
}

/// How to start this program: an image, and the arguments that come before the program's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) image: PathBuf,
    pub(crate) before: Vec<OsString>,
    /// Whether the image is the program itself, and so gets the program's name as its first argument.
    pub(crate) is_direct: bool,
}

impl Launch {
    /// For this process's program. Cached, because it is found from the process's arguments, which may be overwritten.
    pub(crate) fn get() -> io::Result<&'static Self> {
        static LAUNCH: OnceLock<Launch> = OnceLock::new();
        if let Some(launch) = LAUNCH.get() {
            return Ok(launch);
        }
        let found = Self::find()?;
        Ok(LAUNCH.get_or_init(|| found))
    }

    fn find() -> io::Result<Self> {
        let direct = Self { image: IMAGE.into(), before: Vec::new(), is_direct: true };
        // SAFETY: as above.
        if unsafe { libc::getauxval(libc::AT_BASE) } != 0 {
            // The kernel has loaded the dynamic loader beside the program, so the image is the program.
            return Ok(direct);
        }
        // The image is either a program that needs no loader, or a loader that was asked to run the program.
        let image = fs::read_link(IMAGE).map_err(named(IMAGE))?;
        let maps = fs::read(MAPS).map_err(named(MAPS))?;
        let Some(program) = file_at(&maps, main_program()).filter(|program| *program != image) else {
            return Ok(direct);
        };
        if !program.is_file() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!(
                    "this program was started by the loader {}, and its own file is not at {} any more",
                    image.display(),
                    program.display()
                ),
            ));
        }
        let own = std::env::args_os().count();
        let mut before = options_before(&fs::read(CMDLINE).map_err(named(CMDLINE))?, own);
        before.push(program.into());
        Ok(Self { image: IMAGE.into(), before, is_direct: false })
    }
}

const MAPS: &str = "/proc/self/maps";
const CMDLINE: &str = "/proc/self/cmdline";

/// The arguments between the loader's name and the program's name, the first of the program's `own` arguments.
fn options_before(cmdline: &[u8], own: usize) -> Vec<OsString> {
    let all: Vec<&[u8]> = cmdline.strip_suffix(&[0]).unwrap_or(cmdline).split(|byte| *byte == 0).collect();
    let options = all.get(1..all.len().saturating_sub(own)).unwrap_or_default();
    options.iter().map(|option| OsString::from_vec(option.to_vec())).collect()
}

/// The file that is mapped at this address.
fn file_at(maps: &[u8], address: usize) -> Option<PathBuf> {
    maps.split(|byte| *byte == b'\n').find_map(|line| {
        // proc_pid_maps(5): the range, four more fields, and the path, which may contain spaces.
        let (range, _) = line.split_at_checked(line.iter().position(|byte| *byte == b' ')?)?;
        let (start, end) = std::str::from_utf8(range).ok()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        if !(number(start)?..number(end)?).contains(&address) {
            return None;
        }
        let path = line.get(line.iter().position(|byte| *byte == b'/')?..)?;
        Some(Path::new(OsStr::from_bytes(path)).to_owned())
    })
}

/// An address within the main program: that of its program headers.
fn main_program() -> usize {
    /// Notes the first object, the main program, and ends the iteration.
    unsafe extern "C" fn note(info: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: the C library passes a description that is valid during the call, and the pointer given below, which
        // is to a live variable of this type.
        unsafe { *found.cast::<usize>() = (*info).dlpi_phdr as usize };
        1
    }
    let mut found = 0usize;
    // SAFETY: `note` has the right signature, and only writes to `found`, which outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut found).cast()) };
    found
}

/// Shows this text in `ps` in place of the process's arguments from the second on. The first stays, because the C
/// library and others take the program's name from it. A text that does not fit is cut. Call it while the process has
/// one thread and nothing borrows an argument.
pub(crate) fn show_as_arguments(text: &str) {
    let Some((start, end)) = arguments() else { return };
    // SAFETY: between these addresses are the process's arguments, C strings that the kernel has put on the first
    // thread's stack, which is writable and lasts as long as the process. This is the only thread, and nothing borrows
    // an argument, so nothing else accesses them meanwhile. The last byte stays zero, so each string is still
    // terminated.
    let area = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, end - start) };
    let Some(first) = area.iter().position(|byte| *byte == 0) else { return };
    let Some((_, area)) = area[first + 1..].split_last_mut() else { return };
    let len = text.len().min(area.len());
    area.fill(0);
    area[..len].copy_from_slice(&text.as_bytes()[..len]);
}

/// The addresses of this process's arguments. They are the same in each fork, so the kernel is asked once.
fn arguments() -> Option<(usize, usize)> {
    static PLACE: OnceLock<Option<(usize, usize)>> = OnceLock::new();
    *PLACE.get_or_init(find_arguments)
}

/// Asks the kernel for the addresses of the arguments.
fn find_arguments() -> Option<(usize, usize)> {
    // proc_pid_stat(5): fields 48 and 49. The third is the first after the name, which may contain anything.
    let stat = read_text("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(45);
    let mut field = || fields.next()?.parse::<usize>().ok().filter(|address| *address > 0);
    let (start, end) = (field()?, field()?);
    (start < end).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_main_program_is_found() {
        let maps = fs::read(MAPS).unwrap();
        assert_eq!(file_at(&maps, main_program()), fs::read_link(IMAGE).ok());
        assert!(Launch::get().unwrap().is_direct);
        let maps = b"1000-2000 r-xp 00000000 08:02 7 /a b/c (deleted)\n2000-3000 rw-p 00000000 00:00 0 \n";
        assert_eq!(file_at(maps, 0x1fff), Some("/a b/c (deleted)".into()));
        assert_eq!(file_at(maps, 0x2000), None);
        assert_eq!(file_at(maps, 0xfff), None);
    }

    #[test]
    fn options_of_the_loader_are_kept() {
        let cmdline = b"/lib/ld.so\0--library-path\0/a:/b\0./program\0x\0\0";
        assert_eq!(options_before(cmdline, 3), ["--library-path", "/a:/b"]);
        assert_eq!(options_before(b"/lib/ld.so\0./program\0", 1), [""; 0]);
        // A process title was written over the arguments.
        assert_eq!(options_before(b"a title\0", 3), [""; 0]);
        assert_eq!(options_before(b"", 1), [""; 0]);
    }
}
