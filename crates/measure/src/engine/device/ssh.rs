//! Engines on other machines: `blocklens serve-device` there, and ssh between.
//!
//! A *door* is one connection that stays open while many measurements are made: what comes after it goes through it
//! (OpenSSH's ControlMaster) where the system allows that, and connects by itself elsewhere. At its other end a few
//! lines of shell look for blocklens and take a copy of this program where there is none. All of it ends when this
//! process does: the door's standard input ends then, and with it the shell, and with that the connection.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::BadOption;
use super::message::{Failed, FailedKind};
use super::talk::{Folder, Trouble};
use crate::conversation::{Answer, Conversation, Problem, beginning};
use crate::{limits, locked, processes};

/// What stands before a host.
pub(in crate::engine) const NAME: &str = "ssh";
/// How a device on another machine is written.
pub(in crate::engine) const GRAMMAR: &str =
    "ssh:[USER@]HOST[:PORT]/ENGINE, such as ssh:pi@board/tract";
/// The command in place of `ssh`, with arguments of its own.
const PROGRAM_VARIABLE: &str = "BLOCKLENS_SSH";
/// What tells workers of the door that their parent holds.
const DOOR_VARIABLE: &str = "BLOCKLENS_SSH_DOOR";

/// Nothing may be asked, since nobody answers; a machine that is silent for a minute is gone.
const OPTIONS: [&str; 9] = [
    "BatchMode=yes",
    "ConnectTimeout=15",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ForwardX11=no",
    "RemoteCommand=none",
    "ControlPersist=no",
];
/// Longest path of a socket: the system has 104 bytes or more, and ssh adds 17 while it makes one.
const LONGEST_SOCKET: usize = 85;
/// Longest wait for a connection with all that is asked of people's servers.
const CONNECTING: Duration = Duration::from_secs(60);
/// Longest wait for a copy of this program to be there: 50 MB over 1 Mbit/s.
const COPYING: Duration = Duration::from_secs(600);
/// Where there is no ssh.
const INSTALL: &str = "install the OpenSSH client, or name it with BLOCKLENS_SSH";
/// The exit status of ssh where the connection fails; what runs there ends with others.
const CUT: i32 = 255;

/// What a blocklens of this version that serves devices says.
const VERSION: &str = concat!("blocklens-serve-device ", env!("CARGO_PKG_VERSION"));

/// The other end of a door, for any POSIX shell: one line, without single quotes and exclamation marks, so that any
/// login shell hands it on. It ends when its input does.
const SHELL: &str = concat!(
    r#"version=$1; dir="${XDG_CACHE_HOME:-$HOME/.cache}/blocklens"; "#,
    r#"runs() { [ -x "$1" ] && [ "$("$1" serve-device --version 2>/dev/null </dev/null)" = "$version" ]; }; "#,
    r#"hash() { { sha256sum "$1" || shasum -a 256 "$1" || openssl dgst -sha256 -r "$1"; } 2>/dev/null "#,
    r#"| cut -c 1-64; }; "#,
    r#"failed() { rm -f "$t"; echo "failed $1"; exit 1; }; "#,
    r#"while read -r word name sum size; do case "$word" in "#,
    r#"path) found=-; for b in "$(command -v blocklens)" "$HOME/.cargo/bin/blocklens" "$HOME/.local/bin/blocklens"; "#,
    r#"do if runs "$b"; then found=$b; break; fi; done; echo "$(uname -s) $(uname -m) $found";; "#,
    r#"cached) if [ "$(hash "$dir/$name")" = "$sum" ] && runs "$dir/$name"; "#,
    r#"then echo "$dir/$name"; else echo -; fi;; "#,
    r#"take) t="$dir/.$name.$$"; mkdir -p "$dir" || failed "there is no folder $dir"; "#,
    r#"e=$(head -c "$size" 2>&1 >"$t") || failed "$e"; "#,
    r#"case "$(hash "$t")" in "$sum") ;; "") failed "there is no sha256sum, shasum or openssl to check it";; "#,
    r#"*) failed "it did not arrive whole";; esac; chmod 755 "$t" || failed "it cannot be made a program"; "#,
    r#"runs "$t" || failed "it does not run there: $("$t" --version 2>&1 </dev/null | head -n 1)"; "#,
    r#"mv -f "$t" "$dir/$name" || failed "it cannot be moved to $dir/$name"; echo "$dir/$name";; "#,
    r#"esac; done"#,
);

/// An engine on another machine.
#[derive(Debug)]
pub(super) struct Remote {
    pub destination: Destination,
    /// The engine there, as on the command line.
    pub engine: String,
    door: Mutex<Option<Arc<Door>>>,
}

/// Where a machine is, as ssh takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Destination {
    /// `HOST` or `USER@HOST`.
    host: String,
    port: Option<u16>,
}

/// A connection that is held open.
#[derive(Debug)]
struct Door {
    known: Known,
    /// Held for as long as this is; `None` where the parent of this process holds it.
    _held: Option<Held>,
}

/// What stays open. The conversation ends first, and ssh takes its socket away then.
struct Held {
    _shell: Mutex<Conversation>,
    _folder: Folder,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Held")
    }
}

/// What workers are told of a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    destination: Destination,
    /// What leads through it; `None` where the system has no such thing.
    socket: Option<PathBuf>,
    /// The blocklens there.
    program: String,
}

impl Destination {
    fn parse(text: &str) -> Result<Self, BadOption> {
        let bad = |what: &str| BadOption(format!("`{text}` {what}"));
        let (user, address) = match text.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, text),
        };
        let (host, port) = match address.strip_prefix('[').map(|rest| rest.split_once(']')) {
            Some(Some((host, port))) => (host, port.strip_prefix(':')),
            Some(None) => return Err(bad("has no end of its brackets")),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = match port.map(str::parse) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return Err(bad("names no port behind the colon (1 to 65535)")),
        };
        let plain = |word: &str| {
            let odd = |c: char| c.is_whitespace() || c.is_control() || "'\"\\$`;&|<>".contains(c);
            // A leading dash would be an option of ssh.
            !word.is_empty() && !word.starts_with('-') && !word.contains(odd)
        };
        if !plain(host) || !user.is_none_or(plain) {
            return Err(bad("names no host"));
        }
        Ok(Self {
            host: match user {
                Some(user) => format!("{user}@{host}"),
                None => host.to_owned(),
            },
            port,
        })
    }
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "-p {port} {}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Remote {
    /// What stands behind `ssh:`.
    pub(super) fn parse(text: &str) -> Result<Self, BadOption> {
        let Some((destination, engine)) = text.split_once('/') else {
            return Err(BadOption(format!("`{text}` has no engine behind a slash")));
        };
        Ok(Self {
            destination: Destination::parse(destination)?,
            engine: engine.to_owned(),
            door: Mutex::default(),
        })
    }

    /// The command that serves the engine.
    pub(super) fn command(&self) -> Result<Vec<String>, Trouble> {
        let Known {
            socket, program, ..
        } = &self.door()?.known;
        let limit = limits::memory_limit();
        let limit = limit.map_or(String::new(), |mib| format!("--memory-limit {mib} "));
        let serve = format!(
            // A shell stays beside it: it tells a signal that ended the device from a connection that is cut.
            "{} serve-device {limit}{}; exit $?",
            shell_words::quote(program),
            shell_words::quote(&self.engine)
        );
        let mut command = ssh(&self.destination)?;
        through(&mut command, "no", socket.as_deref());
        command.push(self.destination.host.clone());
        command.push(format!("exec sh -c {}", shell_words::quote(&serve)));
        Ok(command)
    }

    /// What workers are told by their environment.
    pub(super) fn for_workers(&self) -> Option<(String, String)> {
        let door = self.door().ok()?;
        let known = serde_json::to_string(&door.known).ok()?;
        Some((DOOR_VARIABLE.into(), known))
    }

    fn door(&self) -> Result<Arc<Door>, Trouble> {
        let mut there = locked(&self.door);
        if let Some(door) = &*there {
            return Ok(Arc::clone(door));
        }
        let door = match lent(&self.destination) {
            Some(known) => Door { known, _held: None },
            None => Door::open(&self.destination)?,
        };
        Ok(Arc::clone(there.insert(Arc::new(door))))
    }
}

/// The door that the parent of this process holds, where it leads to this machine.
fn lent(destination: &Destination) -> Option<Known> {
    let doors = std::env::var(DOOR_VARIABLE).ok()?;
    let mut doors = doors
        .lines()
        .filter_map(|door| serde_json::from_str::<Known>(door).ok());
    doors.find(|known| known.destination == *destination)
}

/// The beginning of every command.
fn ssh(destination: &Destination) -> Result<Vec<String>, Trouble> {
    let own = std::env::var(PROGRAM_VARIABLE).unwrap_or_default();
    let mut command = shell_words::split(&own)
        .map_err(|e| Trouble::Broken(format!("{PROGRAM_VARIABLE} is no command: {e}")))?;
    if command.is_empty() {
        command.push("ssh".into());
    }
    for option in OPTIONS {
        command.extend(["-o".into(), option.into()]);
    }
    command.push("-T".into());
    if let Some(port) = destination.port {
        command.extend(["-p".into(), port.to_string()]);
    }
    Ok(command)
}

/// Has a command use a socket, or make it.
fn through(command: &mut Vec<String>, master: &str, socket: Option<&Path>) {
    let (master, path) = match socket {
        Some(socket) => (master, socket.display().to_string()),
        None => ("no", "none".to_owned()),
    };
    command.extend(["-o".into(), format!("ControlMaster={master}")]);
    // A per cent sign begins a word of ssh's own, and a space ends one.
    let path = path.replace('%', "%%");
    command.extend(["-o".into(), format!("ControlPath=\"{path}\"")]);
}

impl Door {
    /// Connects, and finds or brings blocklens there.
    fn open(destination: &Destination) -> Result<Self, Trouble> {
        let folder = Folder::new()?;
        let socket = folder.path().join("ssh");
        let short = socket.as_os_str().len() <= LONGEST_SOCKET;
        let socket = Some(socket).filter(|_| short && cfg!(unix));
        let mut command = ssh(destination)?;
        through(&mut command, "yes", socket.as_deref());
        command.push(destination.host.clone());
        let words = ["sh", "-c", SHELL, "blocklens", VERSION];
        command.push(format!("exec {}", shell_words::join(words)));
        let mut shell = Shell::start(&command, destination)?;
        let program = shell.program()?;
        Ok(Self {
            known: Known {
                destination: destination.clone(),
                socket,
                program,
            },
            _held: Some(Held {
                _shell: Mutex::new(shell.conversation),
                _folder: folder,
            }),
        })
    }
}

/// The shell at the other end of a door.
struct Shell<'a> {
    conversation: Conversation,
    destination: &'a Destination,
}

/// A machine, as its `uname` has it, and the blocklens of this version that is on its path.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    system: String,
    machine: String,
    program: Option<String>,
}

impl<'a> Shell<'a> {
    fn start(command: &[String], destination: &'a Destination) -> Result<Self, Trouble> {
        let conversation = Conversation::spawn(command)
            .map_err(|failure| unavailable(failure.to_string(), INSTALL.into()))?;
        Ok(Self {
            conversation,
            destination,
        })
    }

    fn ask(&mut self, line: &str, bytes: &[u8], limit: Duration) -> Result<String, Trouble> {
        let mut question = format!("{line}\n").into_bytes();
        question.extend(bytes);
        let interrupted: &AtomicBool = &processes::lent().interrupted;
        let answer = self.conversation.exchange(question, 0, limit, interrupted);
        match answer {
            Ok(Answer { line, .. }) => Ok(line),
            Err(problem) => Err(self.trouble(problem)),
        }
    }

    fn trouble(&self, problem: Problem) -> Trouble {
        let remedy = || format!("see what `ssh {} echo here` says", self.destination);
        match problem {
            // What a guard says of a program that is not there.
            Problem::Died { how, .. } if how.contains("cannot start") => {
                unavailable(how, INSTALL.into())
            }
            Problem::Died { how, code, .. } => cut(self.destination, code, &how)
                .unwrap_or_else(|| unavailable(format!("ssh ended ({how})"), remedy())),
            Problem::Hang(limit) => unavailable(
                format!("no answer from there within {} s", limit.as_secs()),
                remedy(),
            ),
            Problem::Garbage(what) => unavailable(what, remedy()),
            Problem::Interrupted => Trouble::Broken("interrupted".into()),
        }
    }

    /// The blocklens of this version that is there, or a copy of this program.
    fn program(&mut self) -> Result<String, Trouble> {
        let line = self.ask("path", &[], CONNECTING)?;
        let found = Found::read(&line).ok_or_else(|| {
            unavailable(
                format!(
                    "the shell there says something of its own: {}",
                    beginning(&line)
                ),
                format!("see that `ssh {} true` prints nothing", self.destination),
            )
        })?;
        match found.program {
            Some(program) => Ok(program),
            None if found.is_like_this() => self.copy(),
            None => Err(self.foreign(&found)),
        }
    }

    /// What to do where this program cannot run.
    fn foreign(&self, found: &Found) -> Trouble {
        unavailable(
            format!(
                "there is no blocklens {} on its path, and this one, built for {} {}, is no program for {} {}",
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH,
                found.system,
                found.machine
            ),
            format!(
                "install the same version there, so that `ssh {} blocklens --version` finds it or it lies in \
                 ~/.cargo/bin or ~/.local/bin: `cargo install --path crates/cli` in a checkout",
                self.destination
            ),
        )
    }

    /// Brings this program there, under the name of what it holds; one that is there stays.
    fn copy(&mut self) -> Result<String, Trouble> {
        let read = std::env::current_exe().and_then(std::fs::read);
        let own = read.map_err(|e| Trouble::Room(format!("cannot read this program: {e}")))?;
        let sum = hex(&Sha256::digest(&own));
        let name = format!("blocklens-{}", &sum[..16]);
        let cached = self.ask(&format!("cached {name} {sum}"), &[], CONNECTING)?;
        if cached != "-" {
            return Ok(cached);
        }
        let size = own.len();
        let answer = self.ask(&format!("take {name} {sum} {size}"), &own, COPYING)?;
        match answer.strip_prefix("failed ") {
            None => Ok(answer),
            Some(reason) => Err(unavailable(
                format!("this program cannot be copied there: {reason}"),
                format!(
                    "install blocklens {} there by hand, for instance into ~/.local/bin",
                    env!("CARGO_PKG_VERSION")
                ),
            )),
        }
    }
}

impl Found {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let (system, machine) = (words.next()?.to_owned(), words.next()?.to_owned());
        let program = words.next()?;
        let program = match program {
            "-" => None,
            path if path.starts_with('/') => Some(path.to_owned()),
            _ => return None,
        };
        Some(Self {
            system,
            machine,
            program,
        })
    }

    /// Whether this program is one for that machine.
    fn is_like_this(&self) -> bool {
        let system = match &*self.system {
            "Linux" => "linux",
            "Darwin" => "macos",
            _ => return false,
        };
        let machine = match &*self.machine {
            "amd64" => "x86_64",
            "arm64" => "aarch64",
            other => other,
        };
        (system, machine) == (std::env::consts::OS, std::env::consts::ARCH)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unavailable(message: String, remedy: String) -> Trouble {
    Trouble::Said(Failed {
        kind: FailedKind::Unavailable,
        message,
        remedy: Some(remedy),
    })
}

/// What ssh says where it does not connect, and what helps; the first that fits.
const REFUSALS: [(&str, &str); 8] = [
    (
        "Could not resolve hostname",
        "see that the name is right, or give it an address in ~/.ssh/config",
    ),
    (
        "IDENTIFICATION HAS CHANGED",
        "its key is another than the known one: find out why before you trust it (`ssh-keygen -R` forgets the old one)",
    ),
    (
        "Host key verification failed",
        "its key is not known here: connect once by hand with `ssh HOST`, and accept it",
    ),
    (
        "Permission denied",
        "`ssh HOST true` must work without a question: `ssh-copy-id HOST`, or an agent that has the key",
    ),
    (
        "Connection refused",
        "see that an ssh server runs there, and on which port",
    ),
    ("timed out", "see that the machine is on and can be reached"),
    (
        "No route to host",
        "see that the machine is on and can be reached",
    ),
    (
        "unreachable",
        "see that the machine is on and can be reached",
    ),
];

/// Why a connection is cut, where this is how ssh ends then.
pub(super) fn cut(destination: &Destination, code: Option<i32>, how: &str) -> Option<Trouble> {
    if code != Some(CUT) {
        return None;
    }
    let said = how.split_once("255").map_or(how, |(_, said)| said);
    let said: Vec<&str> = said
        .trim_start_matches([':', ' '])
        .split_whitespace()
        .collect();
    let message = match said.as_slice() {
        [] => "the connection is cut".to_owned(),
        said => said.join(" "),
    };
    let refusal = REFUSALS.iter().find(|(words, _)| message.contains(words));
    let remedy = refusal.map_or(
        "see that the machine is on and can be reached",
        |(_, remedy)| remedy,
    );
    Some(Trouble::Lost {
        message,
        remedy: remedy.replace("HOST", &destination.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(text: &str) -> Destination {
        Destination::parse(text).unwrap()
    }

    #[test]
    fn destinations_are_those_of_ssh() {
        for (text, host, port) in [
            ("board", "board", None),
            ("pi@board", "pi@board", None),
            ("pi@board:2222", "pi@board", Some(2222)),
            ("pi@[fe80::1%eth0]:22", "pi@fe80::1%eth0", Some(22)),
            ("[::1]", "::1", None),
        ] {
            let found = destination(text);
            assert_eq!((&*found.host, found.port), (host, port), "{text}");
        }
        for bad in [
            "",
            "@",
            "pi@",
            "-oProxyCommand=x",
            "a b",
            "a:0",
            "a:99999",
            "a:",
            "[::1",
            "a;b",
            "-l@a",
        ] {
            assert!(Destination::parse(bad).is_err(), "{bad}");
        }
        let remote = Remote::parse("pi@board/ort:/opt/lib/x.so").unwrap();
        assert_eq!(remote.engine, "ort:/opt/lib/x.so");
        assert!(Remote::parse("board").is_err());
    }

    #[test]
    fn what_ssh_says_tells_what_to_do() {
        let told = |code, how: &str| match cut(&destination("pi@board:22"), code, how) {
            Some(Trouble::Lost { message, remedy }) => Some((message, remedy)),
            _ => None,
        };
        let (message, remedy) = told(
            Some(255),
            "exit status: 255: pi@board: Permission denied (publickey).",
        )
        .unwrap();
        assert_eq!(message, "pi@board: Permission denied (publickey).");
        assert!(remedy.contains("ssh-copy-id -p 22 pi@board"), "{remedy}");
        let (message, _) = told(Some(255), "exit status: 255").unwrap();
        assert_eq!(message, "the connection is cut");
        assert_eq!(told(Some(137), "exit status: 137: Killed"), None);
        assert_eq!(told(None, "signal: 9"), None);
    }

    #[test]
    fn machines_are_told_apart() {
        let found = |line| Found::read(line);
        assert_eq!(found("Linux aarch64 -").unwrap().program, None);
        let there = found("Linux x86_64 /home/a b/blocklens").unwrap();
        assert_eq!(there.program.as_deref(), Some("/home/a b/blocklens"));
        assert_eq!(found("Welcome to the board"), None);
        let alike = |line| found(line).unwrap().is_like_this();
        assert!(!alike("Linux mips -") && !alike("FreeBSD x86_64 -"));
        if cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            assert!(alike("Linux x86_64 -") && !alike("Linux armv7l -"));
        }
    }

    /// Any login shell hands it on as it is.
    #[test]
    fn the_shell_is_one_plain_line() {
        assert!(!SHELL.contains(['\n', '\'', '!']));
    }
}
