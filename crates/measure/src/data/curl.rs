//! The part of fetching that needs a network: the system's `curl`, which brings TLS, certificates and proxies as the
//! user has them set up, and costs the build nothing.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::FileSpec;
use super::fetch::{Fetch, Transfer};
use crate::files;

/// Longest head of an answer that is read, in bytes.
const LONGEST_HEAD: u64 = 1 << 16;
/// What `curl` ends with when the time is up.
const TIMED_OUT: i32 = 28;

impl Fetch<'_> {
    /// Asks a server for what is not in `part` yet.
    pub(super) fn download(
        &self,
        address: &str,
        spec: &FileSpec,
        part: &Path,
        progress: &dyn Fn(u64),
    ) -> Transfer {
        let here = fs::metadata(part).map_or(0, |m| m.len());
        let already = if here > spec.bytes { 0 } else { here };
        let mut curl = match Curl::start(address, already, self.time_limit) {
            Ok(curl) => curl,
            Err(refusal) => return Transfer::Refused(refusal),
        };
        let outcome = self.answer(&mut curl, spec, part, already, progress);
        let ended = curl.end();
        match (outcome, ended) {
            (Transfer::Interrupted, _) => Transfer::Interrupted,
            _ if self.interrupted.load(Ordering::Relaxed) => Transfer::Interrupted,
            (Transfer::Broken(_), Some(reason)) => Transfer::Broken(reason),
            (outcome, _) => outcome,
        }
    }

    fn answer(
        &self,
        curl: &mut Curl,
        spec: &FileSpec,
        part: &Path,
        already: u64,
        progress: &dyn Fn(u64),
    ) -> Transfer {
        let already = match status(&mut curl.answer) {
            Ok(206) => already,
            Ok(200..=299) => 0,
            Ok(416) => {
                // The server has no such rest: begin again.
                let _ = fs::remove_file(part);
                return Transfer::Broken("the server cannot go on where it stopped".into());
            }
            Ok(status) if status < 500 => {
                return Transfer::Refused(format!("the server answers with status {status}"));
            }
            Ok(status) => {
                return Transfer::Broken(format!("the server answers with status {status}"));
            }
            Err(error) => return Transfer::Broken(error.to_string()),
        };
        match rest_of(part, already) {
            Ok(mut file) => {
                self.receive(&mut curl.answer, &mut file, already, spec.bytes, progress)
            }
            Err(error) => Transfer::Refused(format!("cannot write {}: {error}", part.display())),
        }
    }
}

/// The file, cut to what is here already, at its end.
fn rest_of(part: &Path, already: u64) -> io::Result<File> {
    let mut file = files::beside(part)?;
    file.set_len(already)?;
    file.seek(SeekFrom::Start(already))?;
    Ok(file)
}

/// One transfer: heads and body of what comes, on its standard output. Ends with this value.
struct Curl {
    child: Child,
    answer: BufReader<ChildStdout>,
    time_limit: Duration,
}

impl Curl {
    /// # Errors
    /// Where there is no `curl`, what to do instead.
    fn start(address: &str, from: u64, time_limit: Duration) -> Result<Self, String> {
        let seconds = time_limit.as_secs_f64().max(0.001);
        let mut command = Command::new("curl");
        command
            // First, or the user's own settings could add to the output.
            .args(["--disable", "--silent", "--show-error", "--globoff"])
            .args(["--include", "--suppress-connect-headers"])
            .args(["--location", "--max-redirs", "10"])
            .args(["--proto", "=http,https", "--proto-redir", "=http,https"])
            .args(["--connect-timeout", &format!("{seconds:.3}")])
            .args(["--speed-limit", "1"])
            .args(["--speed-time", &format!("{:.0}", seconds.ceil())]);
        if from > 0 {
            command.args(["--header", &format!("Range: bytes={from}-")]);
        }
        let started = command
            .args(["--url", address])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = started.map_err(|error| {
            format!("`curl`, which brings files over the network, cannot be started: {error}")
        })?;
        let output = child.stdout.take().ok_or("`curl` has no output")?;
        Ok(Self {
            child,
            answer: BufReader::new(output),
            time_limit,
        })
    }

    /// Ends it; why it gave up, where it did by itself.
    fn end(mut self) -> Option<String> {
        // Whatever is left of the answer is not wanted: without a reader `curl` ends.
        drop(self.answer);
        let mut text = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let _ = errors.read_to_string(&mut text);
        }
        let status = self.child.wait().ok()?;
        if status.success() {
            return None;
        }
        if status.code() == Some(TIMED_OUT) {
            let seconds = self.time_limit.as_secs_f64();
            return Some(format!("timeout: nothing came for {seconds} s"));
        }
        let told = text.trim().trim_start_matches("curl: ");
        Some(format!("the server cannot be reached: {told}"))
    }
}

/// The status of the answer itself: heads of redirections that were followed, and of what comes before an answer, are
/// passed over.
fn status(answer: &mut impl BufRead) -> io::Result<u16> {
    loop {
        let head = head(answer)?;
        let mut words = head.first().map_or("", String::as_str).split(' ');
        let protocol = words.next().filter(|p| p.starts_with("HTTP/"));
        let status = protocol.and_then(|_| words.next()?.parse::<u16>().ok());
        let status = status.ok_or_else(|| invalid("what the server answers is not HTTP"))?;
        let moved = (300..400).contains(&status)
            && head
                .iter()
                .any(|line| line.to_ascii_lowercase().starts_with("location:"));
        if status >= 200 && !moved {
            return Ok(status);
        }
    }
}

/// The lines up to an empty one.
fn head(answer: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut left = LONGEST_HEAD;
    loop {
        let mut line = Vec::new();
        answer.by_ref().take(left).read_until(b'\n', &mut line)?;
        left -= line.len() as u64;
        let line = line.strip_suffix(b"\n");
        let line = line.ok_or_else(|| invalid("the head of the server's answer has no end"))?;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            return Ok(lines);
        }
        lines.push(String::from_utf8_lossy(line).into_owned());
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Result<u16, String> {
        status(&mut text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_answers_own_status_is_told() {
        assert_eq!(told("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody"), Ok(200));
        assert_eq!(told("HTTP/2 206 \r\n\r\n"), Ok(206));
        let moved = "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/2 404\r\n\r\n";
        assert_eq!(told(moved), Ok(404));
        assert_eq!(told("HTTP/1.1 304 Not Modified\r\n\r\n"), Ok(304));
        let refused = [
            "",
            "\r\n",
            "HTTP/1.1 200 OK\r\n",
            "220 ftp\r\n\r\n",
            &"x".repeat(1 << 17),
        ];
        for text in refused {
            assert!(told(text).is_err(), "{}", text.len());
        }
    }
}
