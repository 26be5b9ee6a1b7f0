//! Engines behind ssh, with a server of this test's own on the loopback: its keys and everything that it is told lie
//! in a temporary folder. Skipped where there is no sshd; `BLOCKLENS_SSHD` names one, with what it is to be run with.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{blocklens, fails, ok, stored};

const SMALL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../core/tests/spaces/small.toml"
);

/// A server, and the home of who comes there.
struct Server {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null());
    command
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command of a server that this user may run.
fn sshd() -> Option<String> {
    if let Ok(sshd) = std::env::var("BLOCKLENS_SSHD") {
        return Some(sshd);
    }
    let places = ["/usr/sbin/sshd", "/usr/bin/sshd", "/sbin/sshd"];
    let found = places.iter().find(|place| Path::new(place).exists());
    found.map(|place| (*place).to_owned())
}

impl Server {
    /// A server, or a line that says why there is none.
    fn start() -> Option<Self> {
        let server = Self::try_start();
        if let Err(reason) = &server {
            println!("skipping: {reason}");
        }
        server.ok()
    }

    fn try_start() -> Result<Self, &'static str> {
        let sshd = sshd().ok_or("there is no sshd (apt-get install openssh-server)")?;
        let folder = tempfile::tempdir().map_err(|_| "no folder")?;
        let path = |name: &str| folder.path().join(name).display().to_string();
        for key in ["host", "user", "stranger"] {
            let made = run(
                "ssh-keygen",
                &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)],
            );
            if !made {
                return Err("there is no ssh-keygen");
            }
        }
        fs::copy(path("user.pub"), path("authorized")).unwrap();
        fs::create_dir_all(path("home/bin")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        // What comes in finds a home of its own, and a path without a blocklens.
        let config = format!(
            "ListenAddress 127.0.0.1\nPort {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nUsePAM no\n\
             StrictModes no\nPermitRootLogin prohibit-password\nMaxStartups 100\n\
             SetEnv HOME={} PATH={}:/usr/bin:/bin\n",
            path("host"),
            path("authorized"),
            path("home"),
            path("home/bin")
        );
        fs::write(path("sshd_config"), config).unwrap();
        let line = format!("exec {sshd} -D -e -f {}", path("sshd_config"));
        let log = fs::File::create(path("log")).unwrap();
        let process = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|_| "no shell")?;
        let mut server = Self {
            process,
            folder,
            port,
        };
        server.write_client("config", "user", "known");
        let host = fs::read_to_string(server.path("host.pub")).unwrap();
        fs::write(server.path("known"), format!("[127.0.0.1]:{port} {host}")).unwrap();
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.process.try_wait().unwrap().is_some();
            if ended || began.elapsed() > Duration::from_secs(10) {
                println!(
                    "{}",
                    fs::read_to_string(server.path("log")).unwrap_or_default()
                );
                return Err("sshd does not start here");
            }
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client's settings: which key it shows, and which hosts it knows.
    fn write_client(&self, name: &str, key: &str, known: &str) {
        let text = format!(
            "IdentityFile {}\nIdentitiesOnly yes\nUserKnownHostsFile {}\nGlobalKnownHostsFile /dev/null\n",
            self.path(key).display(),
            self.path(known).display()
        );
        fs::write(self.path(name), text).unwrap();
    }

    fn engine(&self, engine: &str) -> String {
        format!("ssh:127.0.0.1:{}/{engine}", self.port)
    }

    /// blocklens with a client's settings, and a folder for temporary files that is looked into.
    fn blocklens(&self, client: &str) -> Command {
        let tmp = self.path("tmp");
        fs::create_dir_all(&tmp).unwrap();
        let mut command = blocklens();
        let ssh = format!("ssh -F '{}'", self.path(client).display());
        command.env("BLOCKLENS_SSH", ssh).env("TMPDIR", tmp);
        command
    }

    /// The same where blocklens is on the path there.
    fn with_blocklens_there(&self) -> &Self {
        let program = env!("CARGO_BIN_EXE_blocklens");
        let _ = symlink(program, self.path("home/bin/blocklens"));
        self
    }

    fn profile(&self, engine: &str, out: &str) -> Command {
        let mut command = self.blocklens("config");
        command.args(["profile", "--quiet", "--budget", "12", "--space", SMALL]);
        command.args(["--metric", "macs", "--engine", engine, "--out"]);
        command.arg(self.path(out));
        command
    }

    /// Processes that the other side started, by their home.
    fn there(&self) -> Vec<String> {
        let home = format!("HOME={}", self.path("home").display());
        let all = fs::read_dir("/proc").unwrap().flatten();
        let is_there = |id: &String| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            variables.any(|variable| variable == home.as_bytes())
        };
        let ids = all.filter_map(|entry| entry.file_name().into_string().ok());
        ids.filter(|id| id.parse::<u32>().is_ok())
            .filter(is_there)
            .collect()
    }

    /// Nothing is left, there or here.
    fn is_quiet(&self) {
        wait_until("nothing runs there", || self.there().is_empty());
        let left = || fs::read_dir(self.path("tmp")).unwrap().count();
        wait_until("no socket is left", || left() == 0);
    }
}

fn wait_until(what: &str, mut is: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_engine_behind_ssh_passes_the_checks() {
    let Some(server) = Server::start() else {
        return;
    };
    let server = server.with_blocklens_there();
    let mut command = server.blocklens("config");
    let said = ok(command.args(["devices", "--check", &server.engine("tract")]));
    assert!(said.contains("ok      runs two networks in turn"), "{said}");
    assert!(!said.contains("FAILED"), "{said}");
    server.is_quiet();
    // What was on the path there was used.
    assert!(!server.path("home/.cache").exists());
}

/// Where it is not, it is brought once, whole, under the name of what it holds.
#[test]
fn blocklens_is_brought_where_it_is_not() {
    let Some(server) = Server::start() else {
        return;
    };
    let engine = server.engine("mock:noise=0.02");
    ok(&mut server.profile(&engine, "first"));
    let cache = server.path("home/.cache/blocklens");
    let list = || -> Vec<_> { fs::read_dir(&cache).unwrap().flatten().collect() };
    let [copy] = list().try_into().unwrap();
    let changed = || copy.metadata().unwrap().modified().unwrap();
    let before = changed();
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o755);
    let check = || {
        let mut command = server.blocklens("config");
        ok(command.args(["devices", "--check", &engine]));
    };
    check();
    assert_eq!(changed(), before, "the copy that is there serves");
    // One that was changed is not trusted.
    fs::write(
        copy.path(),
        "#!/bin/sh\necho blocklens-serve-device 0.1.0\n",
    )
    .unwrap();
    check();
    assert!(fs::metadata(copy.path()).unwrap().len() > 1_000_000);
    assert_eq!(list().len(), 1);
    let rows = stored(&server.path("first"));
    assert!(rows.iter().all(|row| row.failure_kind.is_none()));
    server.is_quiet();
}

#[test]
fn a_machine_of_another_kind_is_told_what_to_do() {
    let Some(server) = Server::start() else {
        return;
    };
    let uname = "#!/bin/sh\ncase $1 in -s) echo Linux;; *) echo armv7l;; esac\n";
    let path = server.path("home/bin/uname");
    fs::write(&path, uname).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let said = fails(&mut server.profile(&server.engine("tract"), "out"));
    for words in ["armv7l", "cargo install", "~/.local/bin"] {
        assert!(said.contains(words), "{said}");
    }
    assert!(!server.path("out").exists() && !server.path("home/.cache").exists());
    server.is_quiet();
}

/// A connection is refused before anything is measured, and the reason says what to do.
#[test]
fn refusals_say_what_to_do() {
    let Some(server) = Server::start() else {
        return;
    };
    server.write_client("strange", "stranger", "known");
    server.write_client("first", "user", "unknown");
    let refused = |client: &str, engine: &str, words: &[&str]| {
        let mut command = server.blocklens(client);
        command.args(["profile", "--engine", engine, "--out"]);
        let said = fails(command.arg(server.path("out")));
        assert!(
            words.iter().all(|word| said.contains(word)),
            "{said}: {words:?}"
        );
        assert!(!server.path("out").exists());
    };
    let engine = server.engine("tract");
    refused("strange", &engine, &["Permission denied", "ssh-copy-id"]);
    refused(
        "first",
        &engine,
        &["Host key verification failed", "accept"],
    );
    refused(
        "config",
        "ssh:no-such-host.invalid/tract",
        &["resolve hostname", "~/.ssh/config"],
    );
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    refused(
        "config",
        &format!("ssh:127.0.0.1:{nobody}/tract"),
        &["Connection refused", "ssh server"],
    );
    let server = server.with_blocklens_there();
    refused(
        "config",
        &server.engine("ort:/no/such.so"),
        &["/no/such.so"],
    );
    server.is_quiet();
}

/// Another machine's measurements are another campaign's, and one interrupted by its cable goes on.
#[test]
fn a_cut_connection_is_no_failure_of_a_network() {
    let Some(mut server) = Server::start() else {
        return;
    };
    server.with_blocklens_there();
    let engine = server.engine("mock:delay-ms=4");
    let mut child = server
        .profile(&engine, "out")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let out = server.path("out");
    wait_until("it measures", || {
        out.join("measurements.db").exists() && stored(&out).len() >= 2
    });
    // The server and what holds its connections, so that they are cut.
    let connections = descendants(server.process.id());
    let connections = connections
        .into_iter()
        .filter(|id| command_line(id).starts_with("sshd:"));
    let connections: Vec<String> = connections.collect();
    assert!(!connections.is_empty());
    server.process.kill().unwrap();
    server.process.wait().unwrap();
    for id in &connections {
        run("kill", &["-KILL", id]);
    }
    let status = child.wait().unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut said).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(stored(&out).iter().all(|row| row.failure_kind.is_none()));
}

/// Whoever is killed on this side, nothing stays on the other, nor between.
#[test]
fn nothing_is_left_behind() {
    let Some(server) = Server::start() else {
        return;
    };
    server.with_blocklens_there();
    let engine = server.engine("mock:delay-ms=2000");
    for (whom, signal) in [
        ("profile", "-KILL"),
        ("profile", "-INT"),
        ("ssh", "-KILL"),
        ("worker", "-KILL"),
    ] {
        let out = server.path(&format!("{whom}{signal}"));
        let mut child = server
            .profile(&engine, &format!("{whom}{signal}"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("it measures", || {
            out.join("measurements.db").exists() && server.there().len() >= 3
        });
        if whom != "profile" {
            let all = descendants(child.id()).into_iter();
            let all: Vec<_> = all.filter(|id| is(whom, &command_line(id))).collect();
            assert!(!all.is_empty(), "{whom}");
            for id in &all {
                run("kill", &[signal, id]);
            }
            sleep(Duration::from_millis(100));
        }
        run(
            "kill",
            &[
                if whom == "profile" { signal } else { "-INT" },
                &child.id().to_string(),
            ],
        );
        let status = child.wait().unwrap();
        if signal == "-INT" {
            assert_eq!(status.code(), Some(130));
        }
        wait_until("nothing runs there", || server.there().is_empty());
    }
    // What a killed process could not remove goes with the next.
    let mut command = server.blocklens("config");
    ok(command.args(["devices", "--check", &server.engine("tract")]));
    server.is_quiet();
}

/// Whether a command line is of a process of this kind.
fn is(kind: &str, line: &str) -> bool {
    match kind {
        "ssh" => line.starts_with("ssh "),
        _ => line.ends_with(" worker"),
    }
}

/// Processes that a process started, directly or not.
fn descendants(ancestor: u32) -> Vec<String> {
    let mut all = vec![ancestor.to_string()];
    let mut next = 0;
    while let Some(id) = all.get(next) {
        let output = Command::new("pgrep").args(["-P", id]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        all.extend(text.lines().map(str::to_owned));
        next += 1;
    }
    all.remove(0);
    all
}

fn command_line(id: &String) -> String {
    let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line)
        .replace('\0', " ")
        .trim()
        .to_owned()
}
