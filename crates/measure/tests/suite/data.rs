//! Data sets: the catalogue, the folder, and fetching from servers that behave and that do not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use blocklens_measure::data::{
    Catalogue, DataError, DataFolder, DataSet, Fetch, FileSpec, Origin, State,
};
use sha2::{Digest, Sha256};

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[test]
fn names_are_plain_and_unique_and_sources_end_in_the_files_name() {
    let catalogue = Catalogue::builtin();
    let names: BTreeSet<&str> = catalogue.sets.iter().map(|s| s.name.as_str()).collect();
    assert_eq!(names.len(), catalogue.sets.len());
    for set in &catalogue.sets {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(set.name.chars().all(plain), "{}", set.name);
        let files: BTreeSet<&str> = set.files.iter().map(|f| f.name.as_str()).collect();
        assert_eq!(files.len(), set.files.len(), "{}", set.name);
        for file in &set.files {
            let source = file.source.as_deref().unwrap();
            assert!(source.starts_with("https://"), "{source}");
            assert!(source.ends_with(&format!("/{}", file.name)), "{source}");
            assert_eq!(file.sha256.len(), 64);
            assert_eq!(set.file(&file.name), Some(file));
        }
    }
    let note10 = catalogue.get("note10").unwrap();
    assert_eq!(note10.bytes(), 15_088 + 15_047 + 15_076 + 15_083 + 15_007);
    assert!(catalogue.get("note11").is_none());
}

/// Where a published file lies in a folder of downloads: the path of its address below the repository's branch, or with
/// the other files of the `ofa` package.
fn below(folder: &Path, file: &FileSpec) -> PathBuf {
    let source = file.source.as_deref().unwrap();
    let path = source.split_once("/master/").map(|(_, path)| path);
    folder.join(path.map_or_else(|| format!("ofa/{}", file.name), str::to_owned))
}

#[test]
fn the_catalogue_is_true_of_the_published_files() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    if !folder.is_dir() {
        eprintln!(
            "skipped: the published files are not in {}",
            folder.display()
        );
        return;
    }
    for file in Catalogue::builtin().sets.iter().flat_map(|s| &s.files) {
        let path = below(&folder, file);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(bytes.len() as u64, file.bytes, "{}", path.display());
        assert_eq!(digest(&bytes), file.sha256, "{}", path.display());
    }
}

/// A catalogue with one set of two files.
fn small() -> Catalogue {
    let file = |name: &str, contents: &[u8]| FileSpec {
        name: name.into(),
        bytes: contents.len() as u64,
        sha256: digest(contents),
        source: Some(format!("https://nowhere.invalid/{name}")),
    };
    Catalogue {
        sets: vec![DataSet {
            name: "small".into(),
            note: "two files".into(),
            licence: "none".into(),
            files: vec![file("one.yaml", ONE), file("two.yaml", TWO)],
        }],
    }
}

const ONE: &[u8] = b"the first file, of some length, so that it can break off";
const TWO: &[u8] = b"the second file";

/// A latency table of one layer.
const OWN: &[u8] = b"Conv-input:32x32x3-output:16x16x8:\n  mean: 1.5\n";

fn folder(root: &Path) -> DataFolder {
    DataFolder::new(root.to_owned(), small())
}

fn fetch<'a>(folder: &'a DataFolder, origin: Origin, interrupted: &'a AtomicBool) -> Fetch<'a> {
    Fetch {
        folder,
        origin,
        again: false,
        time_limit: Duration::from_secs(1),
        pause: Duration::from_millis(5),
        interrupted,
    }
}

fn contents(folder: &DataFolder) -> Vec<Vec<u8>> {
    let files = folder.files("small").unwrap();
    files.into_iter().map(|file| file.bytes).collect()
}

#[test]
fn files_are_added_by_what_they_hold() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder(root.path());
    let set = folder.set("small").unwrap();
    assert_eq!(folder.state(&set), State::Absent);
    let error = folder.files("small").unwrap_err().to_string();
    assert!(
        error.contains("blocklens data fetch small") && error.contains("blocklens data add"),
        "{error}"
    );
    // Names do not matter, contents do.
    let renamed = from.path().join("b.txt");
    std::fs::write(&renamed, TWO).unwrap();
    let added = folder.add(&set, &[renamed]).unwrap();
    assert_eq!(
        (added.files, added.missing),
        (vec!["two.yaml".into()], vec!["one.yaml".into()])
    );
    assert_eq!(folder.state(&set), State::Partly);
    std::fs::write(from.path().join("a.txt"), ONE).unwrap();
    let added = folder.add(&set, &[from.path().to_owned()]).unwrap();
    assert!(added.missing.is_empty());
    assert_eq!(contents(&folder), [ONE, TWO]);
    assert_eq!(folder.state(&set), State::Here);
    std::fs::write(from.path().join("c.txt"), b"something else").unwrap();
    let error = folder.add(&set, &[from.path().join("c.txt")]).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no file of the data set `small`"),
        "{error}"
    );
    // A file that changed afterwards is found when it is used.
    std::fs::write(folder.place("small", "two.yaml"), b"the secund file").unwrap();
    let error = folder.files("small").unwrap_err().to_string();
    assert!(
        error.contains("SHA-256") && error.contains("repairs it"),
        "{error}"
    );
    std::fs::write(folder.place("small", "two.yaml"), b"cut").unwrap();
    let error = folder.files("small").unwrap_err().to_string();
    assert!(error.contains("3 bytes instead of 15"), "{error}");
    assert!(matches!(folder.state(&set), State::Damaged(_)));
}

#[test]
fn sets_of_ones_own_have_names_and_manifests_that_are_checked() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder(root.path());
    let table = from.path().join("table.yaml");
    std::fs::write(&table, OWN).unwrap();
    let paths = [table];
    folder
        .add_own("my-board", "a board", "mine", &paths)
        .unwrap();
    assert_eq!(folder.files("my-board").unwrap()[0].bytes, OWN);
    assert_eq!(folder.sets().len(), 2);
    for name in ["", "../x", "a/b", "A", "small", "x y", &"x".repeat(65)] {
        let error = folder.add_own(name, "", "", &paths).unwrap_err();
        assert!(matches!(error, DataError::Name { .. }), "{name:?}: {error}");
        assert!(name == "small" || folder.set(name).is_err());
    }
    let manifest = folder.place("my-board", "data-set.json");
    let good = std::fs::read_to_string(&manifest).unwrap();
    for (from, to, why) in [
        ("my-board", "other", "describes `other`"),
        ("table.yaml", "../../secret", "not the name of a file"),
        ("table.yaml", "/etc/passwd", "not the name of a file"),
        ("table.yaml", "data-set.json", "not the name of a file"),
        ("{", "", "does not describe a data set"),
        (
            "\"bytes\": 47",
            "\"bytes\": 1e99",
            "does not describe a data set",
        ),
        (
            "\"bytes\": 47",
            "\"bytes\": 18446744073709551615",
            "47 bytes instead of",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(&manifest, good.replacen(from, to, 1)).unwrap();
        let error = folder.files("my-board").unwrap_err().to_string();
        assert!(error.contains(why), "{to}: {error}");
    }
    std::fs::write(&manifest, vec![b' '; 2 << 20]).unwrap();
    assert!(
        folder
            .files("my-board")
            .unwrap_err()
            .to_string()
            .contains("larger than")
    );
    // A set that cannot be replaced stays as it is, and one that no metric reads is none.
    std::fs::write(&manifest, &good).unwrap();
    let notes = from.path().join("notes.yaml");
    std::fs::write(&notes, TWO).unwrap();
    let error = folder.add_own("my-board", "", "", &[notes]).unwrap_err();
    assert!(
        error.to_string().contains("no metric can read notes.yaml"),
        "{error}"
    );
    std::fs::write(&manifest, &good).unwrap();
    let other = from.path().join("two/table.yaml");
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    std::fs::write(&other, OWN).unwrap();
    let error = folder.add_own("my-board", "", "", &[other, from.path().join("gone.yaml")]);
    assert!(error.unwrap_err().to_string().contains("gone.yaml"));
    assert_eq!(folder.files("my-board").unwrap()[0].bytes, OWN);
    // What is damaged can be made again.
    std::fs::write(&manifest, "{").unwrap();
    folder
        .add_own("my-board", "a board", "mine", &paths)
        .unwrap();
    assert!(folder.files("my-board").is_ok());
}

#[test]
fn folders_are_a_source_too() {
    let (root, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = folder(root.path());
    let set = folder.set("small").unwrap();
    let never = AtomicBool::new(false);
    let fetch = fetch(&folder, Origin::Folder(from.path().to_owned()), &never);
    let error = fetch.run(&set, &|_| {}).unwrap_err().to_string();
    assert!(
        error.contains("small/one.yaml") && error.contains(&digest(ONE)),
        "{error}"
    );
    std::fs::create_dir_all(from.path().join("deep/down")).unwrap();
    std::fs::write(from.path().join("one.yaml"), b"another file of this name").unwrap();
    std::fs::write(from.path().join("deep/down/one.yaml"), ONE).unwrap();
    std::fs::write(from.path().join("two.yaml"), TWO).unwrap();
    assert_eq!(fetch.run(&set, &|_| {}).unwrap(), ["one.yaml", "two.yaml"]);
    assert_eq!(contents(&folder), [ONE, TWO]);
    assert!(fetch.run(&set, &|_| {}).unwrap().is_empty(), "all is here");
}

mod network {
    use super::*;
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// What a server does with the `n`-th request for a path, asked for from a byte on.
    type Behaviour = dyn Fn(usize, &str, Option<usize>, &mut TcpStream) + Send + Sync;

    /// A server of one thread, which ends with the test.
    fn serve(behaviour: Box<Behaviour>) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&requests);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let head: Vec<String> = lines
                    .by_ref()
                    .map_while(Result::ok)
                    .take_while(|line| !line.is_empty())
                    .collect();
                let Some(first) = head.first() else { continue };
                let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
                let range = head.iter().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    let asked = name.eq_ignore_ascii_case("range").then_some(value)?;
                    asked
                        .strip_prefix("bytes=")?
                        .strip_suffix('-')?
                        .parse()
                        .ok()
                });
                let n = counter.fetch_add(1, Ordering::SeqCst);
                behaviour(n, &path, range, &mut stream);
            }
        });
        (address, requests)
    }

    fn file(path: &str) -> Option<&'static [u8]> {
        match path {
            "/small/one.yaml" => Some(ONE),
            "/two.yaml" => Some(TWO),
            _ => None,
        }
    }

    fn answer(stream: &mut TcpStream, status: &str, length: usize, body: &[u8]) {
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        let _ = stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body));
    }

    fn honest(path: &str, range: Option<usize>, stream: &mut TcpStream) {
        match (file(path), range) {
            (None, _) => answer(stream, "404 Not Found", 0, b""),
            (Some(bytes), Some(from)) => {
                answer(
                    stream,
                    "206 Partial Content",
                    bytes.len() - from,
                    &bytes[from..],
                );
            }
            (Some(bytes), None) => answer(stream, "200 OK", bytes.len(), bytes),
        }
    }

    fn run(
        behaviour: Box<Behaviour>,
    ) -> (Result<Vec<String>, String>, Vec<u64>, DataFolder, usize) {
        let root = tempfile::tempdir().unwrap().keep();
        let folder = folder(&root);
        let (address, requests) = serve(behaviour);
        let never = AtomicBool::new(false);
        let seen = std::sync::Mutex::new(Vec::new());
        let fetched = fetch(&folder, Origin::Mirror(address), &never)
            .run(&folder.set("small").unwrap(), &|here| {
                seen.lock().unwrap().push(here);
            })
            .map_err(|error| error.to_string());
        let requests = requests.load(Ordering::SeqCst);
        (fetched, seen.into_inner().unwrap(), folder, requests)
    }

    #[test]
    fn mirrors_are_looked_through() {
        let (fetched, seen, folder, _) = run(Box::new(|_, path, range, stream| {
            honest(path, range, stream);
        }));
        assert_eq!(fetched.unwrap(), ["one.yaml", "two.yaml"]);
        assert_eq!(contents(&folder), [ONE, TWO]);
        assert_eq!(*seen.last().unwrap(), (ONE.len() + TWO.len()) as u64);
        assert!(seen.is_sorted(), "{seen:?}");
    }

    #[test]
    fn what_breaks_off_goes_on_where_it_was() {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let (fetched, ..) = run(Box::new(move |n, path, range, stream| {
            log.lock().unwrap().push(range);
            match n {
                0 => answer(stream, "200 OK", ONE.len(), &ONE[..20]),
                1 => answer(stream, "503 Service Unavailable", 0, b""),
                _ => honest(path, range, stream),
            }
        }));
        assert_eq!(fetched.unwrap().len(), 2);
        assert_eq!(asked.lock().unwrap()[..3], [None, Some(20), Some(20)]);
    }

    #[test]
    fn servers_without_ranges_are_asked_for_everything() {
        let (fetched, _, folder, _) = run(Box::new(|n, path, _, stream| match n {
            0 => answer(stream, "200 OK", ONE.len(), &ONE[..20]),
            _ => honest(path, None, stream),
        }));
        assert_eq!(fetched.unwrap().len(), 2);
        assert_eq!(contents(&folder), [ONE, TWO]);
    }

    #[test]
    fn wrong_bytes_are_refused_and_not_kept() {
        let wrong = [b'x'; ONE.len()];
        let (fetched, _, folder, _) = run(Box::new(move |_, path, _, stream| match path {
            "/small/one.yaml" => answer(stream, "200 OK", wrong.len(), &wrong),
            _ => answer(stream, "404 Not Found", 0, b""),
        }));
        let error = fetched.unwrap_err();
        assert!(error.contains("404"), "{error}");
        assert!(!folder.place("small", "one.yaml").exists());
        assert!(!folder.place("small", ".one.yaml.part").exists());
    }

    #[test]
    fn no_more_is_written_than_the_file_has() {
        let (fetched, _, folder, _) = run(Box::new(|_, _, _, stream| {
            answer(stream, "200 OK", 1 << 24, &vec![b'y'; 1 << 24]);
        }));
        let error = fetched.unwrap_err();
        assert!(error.contains("longer than 56 bytes"), "{error}");
        let part = folder.place("small", ".one.yaml.part");
        assert!(std::fs::metadata(part).map_or(0, |m| m.len()) <= ONE.len() as u64);
    }

    #[test]
    fn a_server_that_hangs_or_is_not_there_gets_a_clear_error() {
        let (fetched, _, _, requests) = run(Box::new(|_, _, _, stream| {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 56\r\n\r\n");
            std::thread::sleep(Duration::from_secs(20));
        }));
        let error = fetched.unwrap_err();
        assert!(error.contains("timeout"), "{error}");
        assert!(requests >= 1);
        let closed = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let never = AtomicBool::new(false);
        let error = fetch(&folder, Origin::Mirror(format!("http://{closed}")), &never)
            .run(&folder.set("small").unwrap(), &|_| {})
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("cannot be reached") && error.contains("blocklens data add small"),
            "{error}"
        );
    }

    #[test]
    fn ctrl_c_keeps_what_is_here() {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path());
        let (address, _) = serve(Box::new(|_, path, range, stream| {
            honest(path, range, stream);
        }));
        let interrupted = AtomicBool::new(true);
        let error = fetch(&folder, Origin::Mirror(address), &interrupted)
            .run(&folder.set("small").unwrap(), &|_| {})
            .unwrap_err();
        assert!(matches!(error, DataError::Interrupted), "{error}");
    }
}
