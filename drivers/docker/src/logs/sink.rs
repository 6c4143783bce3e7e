use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use orch_driver::LogSpec;
use orch_host::logs::{self, Stream};
use orch_model::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::Record;

/// `O_NOFOLLOW`, as Linux has it where we run: a task that can reach its log directory leads us nowhere else by a link.
const NO_FOLLOW: i32 = libc::O_NOFOLLOW;
/// How far back to ask the engine for more than is needed: times of the two streams are not strictly in order.
const OVERLAP_SECS: i64 = 2;
/// How long the note is, filled up with spaces: it is written in one go, and never needs to be cut.
const NOTE_LENGTH: usize = 1024;

/// The log files of a task, and how far they hold the output of one container.
#[derive(Debug)]
pub(super) struct Sink {
    spec: LogSpec,
    task: String,
    container: String,
    stdout: Place,
    stderr: Place,
    /// The note; locked, for two who write the same files would spoil them.
    note: File,
    saved: bool,
}

/// Where one stream stands.
#[derive(Debug, Default)]
struct Place {
    mark: Mark,
    /// What was written already, and is to be passed over when it comes again.
    known: Option<Mark>,
    /// How many records with the time of `known` have come again.
    again: u64,
    file: Option<File>,
}

/// Up to where a stream is in its files, and how long the last of them was then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The time of the last record.
    time: i64,
    /// How many records had that time.
    seen: u64,
    index: u64,
    size: u64,
}

/// What is kept beside the log files.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    container: String,
    streams: BTreeMap<String, Mark>,
}

impl Sink {
    /// Goes on where the note says that the output of `container` was; without one, after what there is.
    ///
    /// What was written after the note is cut off: it comes again.
    pub(super) fn open(spec: LogSpec, task: String, container: String) -> io::Result<Self> {
        let mut note = OpenOptions::new();
        note.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(NO_FOLLOW);
        let note = note.open(spec.dir.join(format!(".{task}.docker-position")))?;
        note.try_lock().map_err(|error| io::Error::other(format!("someone else still writes them: {error}")))?;
        let (stdout, stderr) = (Place::default(), Place::default());
        let mut sink = Self { spec, task, container, stdout, stderr, note, saved: true };
        let mut saved = sink.load()?;
        for stream in Stream::BOTH {
            let noted = saved.as_mut().and_then(|saved| saved.streams.remove(&stream.to_string()));
            let mark = match noted {
                Some(mark) => sink.cut_back(stream, mark)?,
                None => sink.end(stream)?,
            };
            sink.place(stream).mark = mark;
        }
        sink.rewind();
        Ok(sink)
    }

    /// Expects what was written already to come again, as far back as [`since`](Self::since) says.
    pub(super) fn rewind(&mut self) {
        for stream in Stream::BOTH {
            let place = self.place(stream);
            place.known = (place.mark.seen > 0).then(|| place.mark.clone());
            place.again = 0;
        }
    }

    /// From which second on the engine has to tell.
    pub(super) fn since(&self) -> i32 {
        let latest = self.stdout.mark.time.max(self.stderr.mark.time) / 1_000_000_000;
        i32::try_from((latest - OVERLAP_SECS).max(0)).unwrap_or(i32::MAX)
    }

    pub(super) const fn is_saved(&self) -> bool {
        self.saved
    }

    /// Writes what is new among `records`, in their order.
    pub(super) fn write(&mut self, records: Vec<Record>) -> io::Result<()> {
        for record in records {
            if !self.place(record.stream).is_known(record.time) {
                if self.is_saved() {
                    // Before anything is written that a crash would leave without a note of where it began.
                    self.save()?;
                    self.saved = false;
                }
                self.append(record.stream, &record.bytes)?;
                self.place(record.stream).mark.advance(record.time);
            }
        }
        Ok(())
    }

    /// Notes how far the files are.
    pub(super) fn save(&mut self) -> io::Result<()> {
        let streams = Stream::BOTH.map(|stream| (stream.to_string(), self.place(stream).mark.clone()));
        let saved = Saved { container: self.container.clone(), streams: BTreeMap::from(streams) };
        let mut text = serde_json::to_vec(&saved).map_err(io::Error::other)?;
        text.resize(text.len().max(NOTE_LENGTH), b' ');
        self.note.write_all_at(&text, 0)?;
        self.saved = true;
        Ok(())
    }

    /// The note, if there is one that can be read and is about this container.
    fn load(&self) -> io::Result<Option<Saved>> {
        let mut text = Vec::new();
        (&self.note).read_to_end(&mut text)?;
        let saved: Option<Saved> = serde_json::from_slice(&text).ok();
        Ok(saved.filter(|saved| saved.container == self.container))
    }

    fn place(&mut self, stream: Stream) -> &mut Place {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Makes the files as they were at `mark`; what was pruned since stays away.
    fn cut_back(&self, stream: Stream, mark: Mark) -> io::Result<Mark> {
        let mut size = 0;
        for index in logs::indexes(&self.spec.dir, &self.task, stream)? {
            let path = logs::path(&self.spec.dir, &self.task, stream, index);
            if index > mark.index {
                std::fs::remove_file(path)?;
            } else if index == mark.index {
                let file = OpenOptions::new().write(true).custom_flags(NO_FOLLOW).open(path)?;
                size = file.metadata()?.len().min(mark.size);
                file.set_len(size)?;
            }
        }
        Ok(Mark { size, ..mark })
    }

    /// Where the files end now, for a container that has written nothing yet.
    fn end(&self, stream: Stream) -> io::Result<Mark> {
        let newest = logs::indexes(&self.spec.dir, &self.task, stream)?.last().copied();
        let Some(index) = newest else { return Ok(Mark::default()) };
        let size = std::fs::symlink_metadata(logs::path(&self.spec.dir, &self.task, stream, index))?.len();
        Ok(Mark { index, size, ..Mark::default() })
    }

    /// Appends `bytes`, to the next file where this one is full.
    fn append(&mut self, stream: Stream, mut bytes: &[u8]) -> io::Result<()> {
        let limit = self.spec.max_file_bytes.max(1);
        while !bytes.is_empty() {
            let (index, size) = {
                let mark = &self.place(stream).mark;
                (mark.index, mark.size)
            };
            if size >= limit {
                let place = self.place(stream);
                (place.mark.index, place.mark.size, place.file) = (index + 1, 0, None);
                continue;
            }
            if self.place(stream).file.is_none() {
                let opened = self.open_file(stream, index, size)?;
                self.place(stream).file = Some(opened);
            }
            let place = self.place(stream);
            let Some(file) = &mut place.file else { continue };
            let room = usize::try_from(limit - size).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            file.write_all(now)?;
            place.mark.size += u64::try_from(room).unwrap_or(0);
            bytes = later;
        }
        Ok(())
    }

    fn open_file(&self, stream: Stream, index: u64, size: u64) -> io::Result<File> {
        let path = logs::path(&self.spec.dir, &self.task, stream, index);
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o644).custom_flags(NO_FOLLOW);
        let file = options.open(path)?;
        if size == 0 {
            // One that begins; the oldest makes room. A file that cannot be removed costs space, not output.
            let _kept = logs::prune(&self.spec.dir, &self.task, stream, self.spec.max_files);
        }
        Ok(file)
    }
}

impl Place {
    /// Whether a record with this time was written before, counting it.
    fn is_known(&mut self, time: Option<Timestamp>) -> bool {
        let (Some(known), Some(Timestamp(time))) = (&self.known, time) else { return false };
        if time < known.time {
            return true;
        }
        if time == known.time && self.again < known.seen {
            self.again += 1;
            return true;
        }
        // From here on everything is new, even if the clock went back.
        self.known = None;
        false
    }
}

impl Mark {
    fn advance(&mut self, time: Option<Timestamp>) {
        let Some(Timestamp(time)) = time else { return };
        self.seen = if time == self.time { self.seen + 1 } else { 1 };
        self.time = time;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Logs(tempfile::TempDir);

    impl Logs {
        fn open(&self, container: &str) -> Sink {
            let spec = LogSpec { dir: self.0.path().to_owned(), max_files: 2, max_file_bytes: 10, disabled: false };
            Sink::open(spec, "web".to_owned(), container.to_owned()).unwrap()
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.path().join(name)).unwrap_or_else(|_| "absent".to_owned())
        }

        /// All of stdout that is still there.
        fn stdout(&self) -> String {
            let indexes = logs::indexes(self.0.path(), "web", Stream::Stdout).unwrap();
            indexes.into_iter().map(|index| self.read(&format!("web.stdout.{index}"))).collect()
        }
    }

    fn record(stream: Stream, time: i64, text: &str) -> Record {
        Record { stream, time: Some(Timestamp(time * 1_000_000_000)), bytes: text.to_owned().into() }
    }

    fn out(time: i64, text: &str) -> Record {
        record(Stream::Stdout, time, text)
    }

    #[test]
    fn what_comes_again_after_a_restart_is_passed_over() {
        let all =
            || vec![out(7, "a"), record(Stream::Stderr, 9, "E"), out(8, "b"), out(8, "c"), out(8, "d"), out(11, "e")];
        for first in 0..=all().len() {
            let logs = Logs(tempfile::tempdir().unwrap());
            let mut sink = logs.open("c1");
            sink.write(all().into_iter().take(first).collect()).unwrap();
            sink.save().unwrap();
            drop(sink);
            let mut sink = logs.open("c1");
            sink.write(all()).unwrap();
            assert_eq!((logs.stdout().as_str(), logs.read("web.stderr.0").as_str()), ("abcde", "E"), "after {first}");
        }
    }

    #[test]
    fn what_a_crash_left_without_a_note_is_written_again() {
        let logs = Logs(tempfile::tempdir().unwrap());
        let mut sink = logs.open("c1");
        sink.write(vec![out(5, "12345")]).unwrap();
        sink.save().unwrap();
        let rest = || vec![out(5, "12345"), out(6, "67"), out(7, "890abc"), out(8, "defghijklmn")];
        sink.rewind();
        sink.write(rest()).unwrap();
        drop(sink);
        assert_eq!(logs.stdout(), "abcdefghijklmn", "the first of three files was pruned");
        let mut sink = logs.open("c1");
        assert_eq!(sink.since(), 3);
        sink.write(rest()).unwrap();
        assert_eq!(logs.stdout(), "67890abcdefghijklmn", "what was pruned is gone, the rest is there once");
    }

    #[test]
    fn files_that_were_begun_after_the_note_are_begun_again() {
        let logs = Logs(tempfile::tempdir().unwrap());
        let mut sink = logs.open("c1");
        sink.write(vec![out(5, "12345")]).unwrap();
        sink.save().unwrap();
        let rest = || vec![out(5, "12345"), out(6, "67890abc")];
        sink.rewind();
        sink.write(rest()).unwrap();
        drop(sink);
        assert_eq!(logs.read("web.stdout.1"), "abc");
        logs.open("c1").write(rest()).unwrap();
        assert_eq!(logs.stdout(), "1234567890abc");
    }

    #[test]
    fn the_next_container_continues_the_files() {
        let logs = Logs(tempfile::tempdir().unwrap());
        let mut first = logs.open("c1");
        first.write(vec![out(9, "one")]).unwrap();
        first.save().unwrap();
        drop(first);
        let mut second = logs.open("c2");
        assert_eq!(second.since(), 0);
        second.write(vec![out(3, "two")]).unwrap();
        drop(second);
        let mut again = logs.open("c2");
        again.write(vec![out(3, "two"), out(4, "!")]).unwrap();
        assert_eq!(logs.stdout(), "onetwo!");
    }

    #[test]
    fn two_do_not_write_the_same_files() {
        let logs = Logs(tempfile::tempdir().unwrap());
        let first = logs.open("c1");
        let spec = LogSpec { dir: logs.0.path().to_owned(), ..LogSpec::default() };
        assert!(Sink::open(spec, "web".to_owned(), "c1".to_owned()).is_err());
        drop(first);
        logs.open("c1");
    }

    #[test]
    fn a_clock_that_goes_back_loses_nothing() {
        let logs = Logs(tempfile::tempdir().unwrap());
        let mut sink = logs.open("c1");
        sink.write(vec![out(100, "a"), out(50, "b"), out(51, "c")]).unwrap();
        assert_eq!(logs.stdout(), "abc");
    }

    #[test]
    fn a_link_in_place_of_a_log_file_is_not_followed() {
        let logs = Logs(tempfile::tempdir().unwrap());
        let outside = logs.0.path().join("outside");
        std::fs::write(&outside, "").unwrap();
        std::os::unix::fs::symlink(&outside, logs.0.path().join("web.stdout.0")).unwrap();
        let mut sink = logs.open("c1");
        let _refused = sink.write(vec![out(1, "x")]);
        assert_eq!(logs.read("outside"), "");
    }
}
