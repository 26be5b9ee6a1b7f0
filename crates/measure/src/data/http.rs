//! The part of fetching that needs a network.

use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::path::Path;

use super::FileSpec;
use super::fetch::{Fetch, Transfer};

impl Fetch<'_> {
    /// Asks a server for what is not in `part` yet.
    pub(super) fn download(
        &self,
        address: &str,
        spec: &FileSpec,
        part: &Path,
        progress: &dyn Fn(u64),
    ) -> Transfer {
        let mut already = fs::metadata(part).map_or(0, |m| m.len());
        if already > spec.bytes {
            already = 0;
        }
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(self.time_limit))
            .timeout_recv_response(Some(self.time_limit))
            .timeout_recv_body(Some(self.time_limit))
            .build();
        let mut request = ureq::Agent::new_with_config(config).get(address);
        if already > 0 {
            request = request.header("Range", format!("bytes={already}-"));
        }
        let response = match request.call() {
            Ok(response) => response,
            Err(ureq::Error::StatusCode(416)) => {
                // The server has no such rest: begin again.
                let _ = fs::remove_file(part);
                return Transfer::Broken("the server cannot go on where it stopped".into());
            }
            Err(ureq::Error::StatusCode(status)) if status < 500 => {
                return Transfer::Refused(format!("the server answers with status {status}"));
            }
            Err(error) => {
                return Transfer::Broken(format!("the server cannot be reached: {error}"));
            }
        };
        if response.status() != 206 {
            already = 0;
        }
        let opened = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .open(part)
            .and_then(|mut file| {
                file.set_len(already)?;
                file.seek(SeekFrom::Start(already))?;
                Ok(file)
            });
        match opened {
            Ok(mut file) => {
                let mut body = response.into_body().into_reader();
                self.receive(&mut body, &mut file, already, spec.bytes, progress)
            }
            Err(error) => Transfer::Refused(format!("cannot write {}: {error}", part.display())),
        }
    }
}
