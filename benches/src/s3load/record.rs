//! The record of what was tried and what was acknowledged.
//!
//! A text file, one act a line, only ever appended to:
//!
//! ```text
//! try put KEY GENERATION SIZE SHA256      before it is sent
//! ok put KEY GENERATION SIZE SHA256       after 200 came
//! try delete KEY GENERATION
//! ok delete KEY GENERATION                after 204 came
//! seen put … | seen delete …              found so by `verify`, after the server came back
//! ```
//!
//! `ok` lines are synced before the worker goes on. From these lines follows, for each key, which
//! states it may be in: the last one that was acknowledged or seen, or any that was tried after it.
//! Nothing else is allowed. A `try` that is still open when a server was killed and came back has
//! happened or not, but it cannot happen any more: `seen` settles it, and from then on holds.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use tokio::sync::{mpsc, oneshot};

use super::content::Content;
use super::{Error, Result, doing};

/// Lines that wait to be written.
const QUEUE_MAX: usize = 1024;

/// A change of one object. Generations of a key only grow, over deletes too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// It was put.
    Put {
        /// Which of its bodies.
        generation: u64,
        /// Bytes.
        size: u64,
        /// Of the body.
        sha256: [u8; 32],
    },
    /// It was deleted, or (generation 0) never put.
    Delete {
        /// In the same sequence as the bodies'.
        generation: u64,
    },
}

impl Act {
    /// Its place in the key's history.
    pub fn generation(&self) -> u64 {
        match self {
            Self::Put { generation, .. } | Self::Delete { generation } => *generation,
        }
    }
    /// The body this act left, where it left one.
    pub fn content(&self, key: &str) -> Option<Content> {
        match self {
            Self::Put { generation, size, .. } => Some(Content::new(key, *generation, *size)),
            Self::Delete { .. } => None,
        }
    }
}

/// Why an act is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// About to be sent.
    Try,
    /// Acknowledged.
    Ok,
    /// Found.
    Seen,
}

/// One line of the record.
pub fn line(kind: Kind, key: &str, act: &Act) -> String {
    let kind = match kind {
        Kind::Try => "try",
        Kind::Ok => "ok",
        Kind::Seen => "seen",
    };
    match act {
        Act::Put { generation, size, sha256 } => {
            format!("{kind} put {key} {generation} {size} {}\n", hex::encode(sha256))
        }
        Act::Delete { generation } => format!("{kind} delete {key} {generation}\n"),
    }
}

fn read_line(line: &str) -> Option<(Kind, &str, Act)> {
    let mut words = line.split(' ');
    let kind = match words.next()? {
        "try" => Kind::Try,
        "ok" => Kind::Ok,
        "seen" => Kind::Seen,
        _ => return None,
    };
    let is_put = match words.next()? {
        "put" => true,
        "delete" => false,
        _ => return None,
    };
    let key = words.next()?;
    let generation = words.next()?.parse().ok()?;
    if !is_put {
        return Some((kind, key, Act::Delete { generation }));
    }
    let size = words.next()?.parse().ok()?;
    let mut sha256 = [0; 32];
    hex::decode_to_slice(words.next()?, &mut sha256).ok()?;
    Some((kind, key, Act::Put { generation, size, sha256 }))
}

/// What may be true of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The last act that certainly happened.
    pub settled: Act,
    /// Acts tried since: each may have happened.
    pub open: Vec<Act>,
}

impl Default for History {
    fn default() -> Self {
        Self { settled: Act::Delete { generation: 0 }, open: Vec::new() }
    }
}

impl History {
    fn apply(&mut self, kind: Kind, act: Act) {
        match kind {
            Kind::Try => self.open.push(act),
            Kind::Ok | Kind::Seen => {
                self.settled = act;
                self.open.clear();
            }
        }
    }
    /// Every state the key may be in.
    pub fn allowed(&self) -> impl Iterator<Item = &Act> {
        std::iter::once(&self.settled).chain(&self.open)
    }
    /// A generation that no act has had.
    pub fn next_generation(&self) -> u64 {
        self.allowed().map(Act::generation).max().unwrap_or(0) + 1
    }
}

/// Reads a record; an absent file is an empty one. A last line without end was cut off while it was
/// written, so what it says was never relied upon: it is passed over.
pub fn load(path: &Path) -> Result<BTreeMap<String, History>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(doing(format!("reading {}", path.display())))?,
    };
    let mut histories = BTreeMap::<String, History>::new();
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let Some(whole) = line.strip_suffix('\n') else { break };
        let (kind, key, act) = read_line(whole)
            .ok_or_else(|| Error::Usage(format!("{}:{}: this is no act", path.display(), number + 1)))?;
        histories.entry(key.to_owned()).or_default().apply(kind, act);
    }
    Ok(histories)
}

enum Note {
    Line(String),
    Synced(String, oneshot::Sender<()>),
}

/// Appends to a record, from many workers. Lines that come together are synced together.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Note>,
}

impl Recorder {
    /// Opens the file, cut after its last whole line, and starts the thread that writes it. The thread
    /// ends with the last clone.
    pub fn open(path: &Path) -> Result<(Self, std::thread::JoinHandle<std::io::Result<()>>)> {
        let opening = || doing(format!("opening {}", path.display()));
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(opening())?;
        if let Ok(text) = std::fs::read(path) {
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            file.set_len(whole as u64).map_err(opening())?;
        }
        let (queue, notes) = mpsc::channel(QUEUE_MAX);
        let writer = std::thread::spawn(move || write(file, notes));
        Ok((Self { queue }, writer))
    }
    /// Appends a line, in order, without waiting for the disk.
    pub async fn note(&self, line: String) -> Result<()> {
        self.queue.send(Note::Line(line)).await.map_err(|_| gone())
    }
    /// Appends a line and waits until it is synced.
    pub async fn settle(&self, line: String) -> Result<()> {
        let (synced, wait) = oneshot::channel();
        self.queue.send(Note::Synced(line, synced)).await.map_err(|_| gone())?;
        wait.await.map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::Usage("the record cannot be written any more".to_owned())
}

fn write(mut file: File, mut notes: mpsc::Receiver<Note>) -> std::io::Result<()> {
    while let Some(first) = notes.blocking_recv() {
        let (mut text, mut waiting) = (String::new(), Vec::new());
        let mut next = Some(first);
        while let Some(note) = next {
            match note {
                Note::Line(line) => text.push_str(&line),
                Note::Synced(line, synced) => {
                    text.push_str(&line);
                    waiting.push(synced);
                }
            }
            next = notes.try_recv().ok();
        }
        file.write_all(text.as_bytes())?;
        if !waiting.is_empty() {
            file.sync_data()?;
        }
        for synced in waiting {
            // A worker that left has nothing to wait for.
            synced.send(()).ok();
        }
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Act, History, Kind, Recorder, line, load, read_line};

    const fn put(generation: u64) -> Act {
        Act::Put { generation, size: 10, sha256: [7; 32] }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for act in [put(3), Act::Delete { generation: 4 }] {
            for kind in [Kind::Try, Kind::Ok, Kind::Seen] {
                let text = line(kind, "r/000/1", &act);
                assert_eq!(read_line(text.trim_end()), Some((kind, "r/000/1", act)));
            }
        }
        assert_eq!(read_line("ok put key 1 10 abc"), None);
    }

    #[test]
    fn what_was_tried_may_be_so_until_something_is_settled() {
        let mut history = History::default();
        history.apply(Kind::Try, put(1));
        history.apply(Kind::Ok, put(1));
        history.apply(Kind::Try, put(2));
        history.apply(Kind::Try, Act::Delete { generation: 3 });
        let allowed: Vec<_> = history.allowed().copied().collect();
        assert_eq!(allowed, [put(1), put(2), Act::Delete { generation: 3 }]);
        assert_eq!(history.next_generation(), 4);
        history.apply(Kind::Seen, put(1));
        assert_eq!(history.allowed().copied().collect::<Vec<_>>(), [put(1)]);
    }

    #[tokio::test]
    async fn a_line_that_was_cut_is_passed_over_and_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        fs::write(&path, format!("{}ok put half", line(Kind::Ok, "a", &put(1)))).unwrap();
        assert_eq!(load(&path).unwrap().len(), 1);
        let (recorder, writer) = Recorder::open(&path).unwrap();
        recorder.note(line(Kind::Try, "b", &put(1))).await.unwrap();
        recorder.settle(line(Kind::Ok, "b", &put(1))).await.unwrap();
        drop(recorder);
        writer.join().unwrap().unwrap();
        let histories = load(&path).unwrap();
        assert_eq!(histories["b"], History { settled: put(1), open: Vec::new() });
        assert_eq!(histories.len(), 2);
    }

    #[test]
    fn a_file_that_is_no_record_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record");
        fs::write(&path, "hello\n").unwrap();
        assert!(load(&path).unwrap_err().to_string().ends_with(":1: this is no act"));
    }
}
