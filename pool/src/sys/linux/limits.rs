//! Names the limit that an error of the system comes from, and how to raise it.

use std::io;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

use super::read_text;

/// The numbers from which the standard library duplicates descriptors: those above the standard three.
const LEAST_COPY: u64 = 3;

/// Explains an error that means that no more descriptors can be opened; none for other errors.
pub(super) fn of_descriptors(error: i32) -> Option<String> {
    let most = soft(Resource::RLIMIT_NOFILE);
    match Errno::from_raw(error) {
        // A copy of a descriptor asks for a number of at least three, and is an invalid argument where none may be.
        Errno::EINVAL if most.is_none_or(|most| most > LEAST_COPY) => None,
        Errno::EMFILE | Errno::EINVAL => {
            let most = most.map_or("unknown".into(), |most| most.to_string());
            Some(format!(
                "; RLIMIT_NOFILE, the most files that a process may have open, is {most}: raise it (`ulimit -n`, \
                 systemd's `LimitNOFILE=`), close files that the program no longer needs, or have fewer workers"
            ))
        }
        Errno::ENFILE => Some(
            "; all processes of this machine together have as many files open as they may: raise `fs.file-max` (sysctl)"
                .into(),
        ),
        _ => None,
    }
}

/// Adds the name of a system call or file to the error of starting a process or thread. If the cause is a limit on
/// their number, also adds the limit and how to raise it.
pub(crate) fn named_start<E: Into<io::Error>>(call: &str) -> impl FnOnce(E) -> io::Error {
    move |error| {
        let error = error.into();
        let limit = of_processes(&error);
        let error = super::named(call)(error);
        io::Error::new(error.kind(), format!("{error}{limit}"))
    }
}

/// Explains an error of starting a process or thread that means that there may be no more; empty for other errors.
pub(crate) fn of_processes(error: &io::Error) -> String {
    if error.raw_os_error() != Some(libc::EAGAIN) {
        return String::new();
    }
    // RLIMIT_NPROC does not bind root.
    let of_user = soft(Resource::RLIMIT_NPROC).filter(|_| !nix::unistd::geteuid().is_root());
    reached(|file| read_text(file).ok(), of_user)
}

/// Names the limit on processes that is reached. `of_user` is the limit on those of this user, if it binds.
fn reached(read: impl Fn(&Path) -> Option<String>, of_user: Option<u64>) -> String {
    const LESS: &str = "end other processes or threads, or have fewer workers";
    if let Some((group, most)) = full_group(read) {
        return format!(
            "; `pids.max`, the most processes and threads that the control group {group} may have, is {most}: raise it \
             (systemd's `TasksMax=`, a container's `--pids-limit`), {LESS}"
        );
    }
    match of_user {
        Some(most) => format!(
            "; RLIMIT_NPROC, the most processes and threads that this user may have, is {most}: raise it (`ulimit -u`, \
             systemd's `LimitNPROC=`), {LESS}"
        ),
        None => format!(
            "; this machine, or the container, has as many processes and threads as it may: raise \
             `kernel.threads-max` and `kernel.pid_max` (sysctl) or the container's `pids.max`, {LESS}"
        ),
    }
}

/// The nearest control group of this process that may have no more processes, and its limit.
fn full_group(read: impl Fn(&Path) -> Option<String>) -> Option<(String, u64)> {
    let groups = read(Path::new("/proc/self/cgroup"))?;
    let places = groups.lines().filter_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        let root = match controllers {
            "" => "/sys/fs/cgroup",
            _ if controllers.split(',').any(|name| name == "pids") => "/sys/fs/cgroup/pids",
            _ => return None,
        };
        Some((Path::new(root), group.trim_start_matches('/')))
    });
    let mut full = places.filter_map(|(root, group)| {
        let own = root.join(group);
        own.ancestors().take_while(|dir| dir.starts_with(root)).find_map(|dir| {
            let number = |file| read(&dir.join(file))?.trim().parse::<u64>().ok();
            let (most, now) = (number("pids.max")?, number("pids.current")?);
            let name = dir.strip_prefix(root).ok()?.display();
            (now >= most).then(|| (format!("/{name}"), most))
        })
    });
    full.next()
}

/// The soft limit; none if it is unlimited or unknown.
fn soft(resource: Resource) -> Option<u64> {
    getrlimit(resource).ok().map(|(soft, _)| soft).filter(|soft| *soft != libc::RLIM_INFINITY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named_limit(files: &[(&str, &str)], of_user: Option<u64>) -> String {
        let find = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path);
        reached(|path| Some(find(path)?.1.to_owned()), of_user)
    }

    #[test]
    fn the_limit_that_is_reached_is_named() {
        let second = [
            ("/proc/self/cgroup", "0::/jobs/one\n"),
            ("/sys/fs/cgroup/jobs/one/pids.max", "max\n"),
            ("/sys/fs/cgroup/jobs/one/pids.current", "20\n"),
            ("/sys/fs/cgroup/jobs/pids.max", "20\n"),
            ("/sys/fs/cgroup/jobs/pids.current", "20\n"),
        ];
        let text = named_limit(&second, Some(70));
        assert!(text.contains("`pids.max`") && text.contains("group /jobs may have, is 20:"), "{text}");
        let first = [
            ("/proc/self/cgroup", "8:pids:/job\n4:memory:/other\n0::/\n"),
            ("/sys/fs/cgroup/pids/job/pids.max", "7\n"),
            ("/sys/fs/cgroup/pids/job/pids.current", "7\n"),
        ];
        let text = named_limit(&first, None);
        assert!(text.contains("group /job may have, is 7:"), "{text}");
        let text = named_limit(&second[..3], Some(70));
        assert!(
            text.contains("RLIMIT_NPROC") && text.contains("is 70:") && text.contains("ulimit -u"),
            "{text}"
        );
        assert!(named_limit(&[], None).contains("kernel.threads-max"));
    }

    #[test]
    fn other_errors_are_left_alone() {
        assert_eq!(of_processes(&io::Error::from_raw_os_error(libc::ENOENT)), "");
        assert_eq!(of_descriptors(libc::EINVAL), None, "this test may have descriptors");
        assert_eq!(of_descriptors(libc::EAGAIN), None);
    }
}
