//! The latest value of each key, in one file that is only appended to until it is worth rewriting.
//!
//! The file is a header and records. A record is bound to its place by its checksum and found by its magic, so that
//! reading goes on after any damage at the next whole record.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{self, LogDisk, NamedFile};
use crate::error::Error;
use crate::format::{self, ALIGN, VERSION, Version, to_usize, u32_at};

const MAGIC: [u8; 5] = *b"ORJNL";
const RECORD_MAGIC: [u8; 4] = *b"oJr1";
const FILE_HEADER: u64 = 16;
const RECORD_HEADER: usize = 24;
const MAX_VALUE_BYTES: usize = 64 << 20;
const MAX_KEY_BYTES: usize = 64 << 10;
const FLAG_PUT: u32 = 1;
const FLAG_DELETE: u32 = 2;
/// The granule in which an unreadable file is read around its bad places.
const READ_BLOCK: usize = 4096;

/// Where a journal lies, and when it is rewritten.
#[derive(Debug, Clone)]
pub struct JournalOptions {
    /// The file's name.
    pub name: String,
    /// The journal is rewritten when superseded records take more than this many bytes and more than the live ones.
    pub garbage_bytes: u64,
    /// How far ahead of the records the file is filled with zeros, in bytes.
    pub grow_bytes: u64,
}

impl JournalOptions {
    /// Sizes for a few thousand small values.
    pub fn new(name: impl Into<String>) -> JournalOptions {
        JournalOptions { name: name.into(), garbage_bytes: 1 << 20, grow_bytes: 64 << 10 }
    }
}

/// Something that could not be read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file; where it was given up, its new name.
    pub file: PathBuf,
    /// Where in it, in bytes.
    pub offset: u64,
    /// What is wrong there and what it costs.
    pub detail: String,
}

/// A durable map from keys to values, of which the keys are kept in memory.
///
/// A change is in the file, and so survives the end of the process, when the call returns; it survives a power failure
/// after [`Journal::sync`] or the `_durable` calls, which concurrent callers share. After a failed call the change has
/// not happened, though after a failed sync it may be found after a crash. A failed call may be repeated: what an
/// unsuccessful sync made doubtful is written anew.
#[derive(Debug)]
pub struct Journal {
    disk: Arc<dyn LogDisk>,
    options: JournalOptions,
    state: Mutex<State>,
    /// Held while syncing, so that those who come meanwhile share the next one.
    syncing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    file: NamedFile,
    keys: BTreeMap<Vec<u8>, Spot>,
    /// Where the next record goes.
    position: u64,
    zeroed_to: u64,
    live_bytes: u64,
    /// Garbage above which the next rewrite is tried; raised when one fails.
    rewrite_at: u64,
    /// Counts changes, to tell which ones a sync covered.
    changes: u64,
    synced: u64,
    /// A sync failed, so nothing can be said of what the file holds: it is to be rewritten.
    doubtful: bool,
}

/// Where the newest record of a key lies.
#[derive(Debug, Clone, Copy)]
struct Spot {
    offset: u64,
    key_length: u32,
    value_length: u32,
}

impl Spot {
    fn bytes(self) -> u64 {
        record_size(self.key_length, self.value_length) as u64
    }
}

impl Journal {
    /// Opens the journal, or begins one where there is none.
    ///
    /// Damage never prevents it: bad records are skipped, a file of which nothing can be read is renamed to
    /// `*.damaged-N`, and both are listed. A key whose newest record is bad has the value before that. The end of a
    /// write that a power failure cut short is listed too. An error is a file of a newer version, or a directory that
    /// cannot be used.
    pub fn open(disk: Arc<dyn LogDisk>, options: JournalOptions) -> Result<(Journal, Vec<Damage>), Error> {
        let names = disk::list(&*disk)?;
        let leftover = rewritten_name(&options.name);
        if names.contains(&leftover) {
            disk::remove(&*disk, &leftover)?;
        }
        let mut damage = Vec::new();
        let mut state = None;
        if names.contains(&options.name) {
            let file = NamedFile::open(&*disk, &options.name)?;
            state = load(file, &mut damage)?;
            if state.is_none() && damage.is_empty() {
                // Blank: a crash cut its creation short.
                disk::remove(&*disk, &options.name)?;
            } else if state.is_none() {
                set_aside(&*disk, &options.name, &names, &mut damage)?;
            }
        }
        let state = match state {
            Some(state) => state,
            None => create(&*disk, &options.name, options.grow_bytes)?,
        };
        state.file.sync_data().or_else(|error| doubt(&mut damage, &state.file, &error))?;
        disk::sync_dir(&*disk)?;
        let journal = Journal { disk, options, state: Mutex::new(state), syncing: Mutex::new(()) };
        if !damage.is_empty() {
            journal.rewrite_if_possible(&mut journal.lock());
        }
        Ok((journal, damage))
    }

    /// Sets a value.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.change(key, Some(value))
    }

    /// Sets a value; it is durable on return.
    pub fn put_durable(&self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        self.change(key, Some(value))?;
        self.sync()
    }

    /// Removes a key; one that does not exist is no error.
    pub fn delete(&self, key: &[u8]) -> Result<(), Error> {
        if self.lock().keys.contains_key(key) { self.change(key, None) } else { Ok(()) }
    }

    /// Removes a key; it is gone for good on return.
    pub fn delete_durable(&self, key: &[u8]) -> Result<(), Error> {
        self.delete(key)?;
        self.sync()
    }

    /// The value of a key. An error if its record has become unreadable since the journal was opened.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let (file, spot) = {
            let state = self.lock();
            match state.keys.get(key) {
                Some(spot) => (state.file.clone(), *spot),
                None => return Ok(None),
            }
        };
        read_value(&file, key, spot).map(Some)
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        self.lock().keys.keys().cloned().collect()
    }

    /// The keys that existed at the call, in order, with their values as of each step; removed ones are left out.
    pub fn iter(&self) -> impl Iterator<Item = (Vec<u8>, Result<Vec<u8>, Error>)> + '_ {
        self.keys().into_iter().filter_map(|key| {
            let value = self.get(&key).transpose()?;
            Some((key, value))
        })
    }

    /// Makes all changes so far durable.
    pub fn sync(&self) -> Result<(), Error> {
        let wanted = self.lock().changes;
        let _turn = self.syncing.lock().expect("nothing panics while syncing");
        let (file, changes) = {
            let mut state = self.lock();
            if state.doubtful {
                return self.rewrite(&mut state);
            }
            if state.synced >= wanted {
                return Ok(());
            }
            (state.file.clone(), state.changes)
        };
        let outcome = file.sync_data();
        let mut state = self.lock();
        match outcome {
            // A rewrite meanwhile has made everything durable by itself.
            _ if !Arc::ptr_eq(&state.file.path, &file.path) => Ok(()),
            Ok(()) => {
                state.synced = state.synced.max(changes);
                Ok(())
            }
            Err(error) => {
                state.doubtful = true;
                Err(error)
            }
        }
    }

    /// The size of live records and of the whole file, in bytes.
    pub fn bytes(&self) -> (u64, u64) {
        let state = self.lock();
        (state.live_bytes, state.position)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the journal is locked")
    }

    fn change(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), Error> {
        check_size("a key", key.len(), MAX_KEY_BYTES)?;
        check_size("a value", value.map_or(0, <[u8]>::len), MAX_VALUE_BYTES)?;
        let mut state = self.lock();
        if state.doubtful {
            self.rewrite(&mut state)?;
        }
        state.append(key, value, self.options.grow_bytes)?;
        let garbage = state.position - FILE_HEADER - state.live_bytes;
        if garbage > state.rewrite_at.max(self.options.garbage_bytes) && garbage > state.live_bytes {
            self.rewrite_if_possible(&mut state);
        }
        Ok(())
    }

    /// Rewrites to save space; a failure leaves the journal as it was.
    fn rewrite_if_possible(&self, state: &mut State) {
        if let Err(error) = self.rewrite(state) {
            state.rewrite_at = 2 * (state.position - FILE_HEADER - state.live_bytes);
            tracing::warn!(file = %state.file.path.display(), error = %error.chain(), "journal could not be rewritten");
        }
    }

    /// Copies the live records into a new file, durably, and puts it in the old one's place.
    fn rewrite(&self, state: &mut State) -> Result<(), Error> {
        let name = rewritten_name(&self.options.name);
        if self.disk.open(&name).is_ok() {
            disk::remove(&*self.disk, &name)?;
        }
        let mut fresh = create(&*self.disk, &name, self.options.grow_bytes)?;
        for (key, spot) in &state.keys {
            match read_value(&state.file, key, *spot) {
                Ok(value) => fresh.append(key, Some(&value), self.options.grow_bytes)?,
                Err(error) => {
                    tracing::error!(error = %error.chain(), "journal lost a record to damage");
                }
            }
        }
        fresh.file.sync_data()?;
        disk::rename(&*self.disk, &name, &self.options.name)?;
        fresh.file.path = self.disk.path(&self.options.name).into();
        fresh.changes = state.changes;
        fresh.synced = state.changes;
        *state = fresh;
        if let Err(error) = disk::sync_dir(&*self.disk) {
            state.doubtful = true;
            return Err(error);
        }
        Ok(())
    }
}

impl State {
    fn append(&mut self, key: &[u8], value: Option<&[u8]>, grow: u64) -> Result<(), Error> {
        let key_length = u32::try_from(key.len()).expect("checked by the caller");
        let value_length = u32::try_from(value.map_or(0, <[u8]>::len)).expect("checked by the caller");
        let record = encode_record(self.position, key, value);
        let end = self.position + record.len() as u64;
        self.file.write_at(&record, self.position)?;
        if end > self.zeroed_to {
            // Room for the records to come; without it they only cost more.
            let target = end + grow;
            self.zeroed_to = if self.file.write_zeros(end, target).is_ok() { target } else { end };
        }
        let spot = Spot { offset: self.position, key_length, value_length };
        self.position = end;
        self.changes += 1;
        self.place(key, value.map(|_| spot));
        Ok(())
    }

    fn place(&mut self, key: &[u8], spot: Option<Spot>) {
        let old = match spot {
            Some(spot) => {
                self.live_bytes += spot.bytes();
                self.keys.insert(key.to_vec(), spot)
            }
            None => self.keys.remove(key),
        };
        self.live_bytes -= old.map_or(0, Spot::bytes);
    }
}

fn rewritten_name(name: &str) -> String {
    format!("{name}.new")
}

fn check_size(what: &'static str, bytes: usize, limit: usize) -> Result<(), Error> {
    if bytes > limit { Err(Error::TooLarge { what, bytes, limit }) } else { Ok(()) }
}

fn create(disk: &dyn LogDisk, name: &str, grow: u64) -> Result<State, Error> {
    let file = NamedFile::create(disk, name)?;
    let mut header = [0; 16];
    header[..8].copy_from_slice(&format::version_mark(MAGIC));
    file.write_at(&header, 0)?;
    file.write_zeros(FILE_HEADER, FILE_HEADER + grow)?;
    Ok(State::new(file, FILE_HEADER, FILE_HEADER + grow))
}

impl State {
    fn new(file: NamedFile, position: u64, zeroed_to: u64) -> State {
        State {
            file,
            keys: BTreeMap::new(),
            position,
            zeroed_to,
            live_bytes: 0,
            rewrite_at: 0,
            changes: 0,
            synced: 0,
            doubtful: false,
        }
    }
}

/// Reads a journal; `None` if nothing in it can be used.
fn load(file: NamedFile, damage: &mut Vec<Damage>) -> Result<Option<State>, Error> {
    let bytes = read_around_damage(&file, damage)?;
    let whole_header = match format::read_version(&bytes, MAGIC) {
        Version::Newer(found) => {
            return Err(Error::Newer { path: file.path.to_path_buf(), found, supported: VERSION });
        }
        Version::Current => true,
        Version::Damaged => false,
    };
    let content = format::end_of_content(&bytes);
    if !whole_header && content > 0 {
        damage.push(damage_at(&file, 0, "the file's header is damaged; its records are read all the same".to_owned()));
    }
    let mut state = State::new(file, FILE_HEADER, bytes.len() as u64);
    let mut at = to_usize(FILE_HEADER);
    let mut found = 0;
    while at < content {
        if let Some(record) = decode_record(&bytes, at) {
            let spot = Spot { offset: at as u64, key_length: record.key_length, value_length: record.value_length };
            state.place(record.key, record.put.then_some(spot));
            found += 1;
            at += record_size(record.key_length, record.value_length);
        } else {
            let next = (at + ALIGN..content).step_by(ALIGN).find(|next| decode_record(&bytes, *next).is_some());
            damage.push(damage_at(&state.file, at as u64, lost(&bytes, at, next)));
            at = next.unwrap_or(content);
        }
    }
    // A blank file is one whose creation was cut short; without a header it is begun anew.
    if found == 0 && !whole_header {
        return Ok(None);
    }
    state.position = (at as u64).next_multiple_of(ALIGN as u64);
    state.zeroed_to = state.zeroed_to.max(state.position);
    Ok(Some(state))
}

fn lost(bytes: &[u8], at: usize, next: Option<usize>) -> String {
    let key = decode_key(bytes, at).map(|key| format!(" of key \"{}\"", key.escape_ascii())).unwrap_or_default();
    match next {
        Some(next) => format!("a record{key} is damaged; {} bytes are skipped", next - at),
        None => format!(
            "the last record{key} is incomplete or damaged and is dropped; after a power failure that is normal"
        ),
    }
}

/// The whole file; blocks that the device cannot read are taken as zeros, and listed.
fn read_around_damage(file: &NamedFile, damage: &mut Vec<Damage>) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; to_usize(file.size()?)];
    if file.read_at(&mut bytes, 0).is_ok() {
        return Ok(bytes);
    }
    for (number, block) in bytes.chunks_mut(READ_BLOCK).enumerate() {
        let offset = (number * READ_BLOCK) as u64;
        if let Err(error) = file.read_at(block, offset) {
            block.fill(0);
            damage.push(damage_at(file, offset, format!("{} bytes cannot be read: {}", block.len(), error.chain())));
        }
    }
    Ok(bytes)
}

fn set_aside(disk: &dyn LogDisk, name: &str, names: &[String], damage: &mut Vec<Damage>) -> Result<(), Error> {
    let free = |aside: &String| !names.contains(aside);
    let aside = (1_u64..).map(|number| format!("{name}.damaged-{number}")).find(free);
    let aside = aside.expect("some number is free");
    disk::rename(disk, name, &aside)?;
    let detail = "nothing in the file can be read; it was set aside and an empty one begun".to_owned();
    damage.push(Damage { file: disk.path(&aside), offset: 0, detail });
    Ok(())
}

fn doubt(damage: &mut Vec<Damage>, file: &NamedFile, error: &Error) -> Result<(), Error> {
    damage.push(damage_at(file, 0, format!("the file is rewritten because a sync failed: {}", error.chain())));
    Ok(())
}

fn damage_at(file: &NamedFile, offset: u64, detail: String) -> Damage {
    Damage { file: file.path.to_path_buf(), offset, detail }
}

fn read_value(file: &NamedFile, key: &[u8], spot: Spot) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; record_size(spot.key_length, spot.value_length)];
    file.read_at(&mut bytes, spot.offset)?;
    match decode_record_at(&bytes, spot.offset) {
        Some(record) if record.key == key && record.put => Ok(record.value.to_vec()),
        Some(_) | None => Err(file.damaged(spot.offset, format!("the record of key \"{}\" fails", key.escape_ascii()))),
    }
}

struct Parsed<'a> {
    put: bool,
    key: &'a [u8],
    value: &'a [u8],
    key_length: u32,
    value_length: u32,
}

fn record_size(key: u32, value: u32) -> usize {
    (RECORD_HEADER + to_usize(u64::from(key) + u64::from(value))).next_multiple_of(ALIGN)
}

/// Magic, checksum of all, checksum of head and key, flag, lengths; then key and value.
fn encode_record(offset: u64, key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let payload = value.unwrap_or(&[]);
    let key_length = u32::try_from(key.len()).expect("checked by the caller");
    let value_length = u32::try_from(payload.len()).expect("checked by the caller");
    let mut bytes = vec![0; record_size(key_length, value_length)];
    bytes[..4].copy_from_slice(&RECORD_MAGIC);
    let flag = if value.is_some() { FLAG_PUT } else { FLAG_DELETE };
    bytes[12..16].copy_from_slice(&flag.to_le_bytes());
    bytes[16..20].copy_from_slice(&key_length.to_le_bytes());
    bytes[20..24].copy_from_slice(&value_length.to_le_bytes());
    let value_at = RECORD_HEADER + key.len();
    bytes[RECORD_HEADER..value_at].copy_from_slice(key);
    bytes[value_at..value_at + payload.len()].copy_from_slice(payload);
    let head_crc = crc(offset, &bytes[12..value_at]);
    bytes[8..12].copy_from_slice(&head_crc.to_le_bytes());
    let whole_crc = crc(offset, &bytes[8..value_at + payload.len()]);
    bytes[4..8].copy_from_slice(&whole_crc.to_le_bytes());
    bytes
}

fn decode_record(file: &[u8], at: usize) -> Option<Parsed<'_>> {
    decode_record_at(file.get(at..)?, at as u64)
}

fn decode_record_at(bytes: &[u8], offset: u64) -> Option<Parsed<'_>> {
    if bytes.len() < RECORD_HEADER || bytes[..4] != RECORD_MAGIC {
        return None;
    }
    let (flag, key_length, value_length) = (u32_at(bytes, 12), u32_at(bytes, 16), u32_at(bytes, 20));
    let value_at = RECORD_HEADER.checked_add(to_usize(u64::from(key_length)))?;
    let end = value_at.checked_add(to_usize(u64::from(value_length)))?;
    let value = bytes.get(value_at..end)?;
    let known = flag == FLAG_PUT || flag == FLAG_DELETE;
    if !known || u32_at(bytes, 4) != crc(offset, &bytes[8..end]) {
        return None;
    }
    Some(Parsed { put: flag == FLAG_PUT, key: &bytes[RECORD_HEADER..value_at], value, key_length, value_length })
}

/// The key of a record whose value is damaged.
fn decode_key(file: &[u8], at: usize) -> Option<&[u8]> {
    let bytes = file.get(at..)?;
    if bytes.len() < RECORD_HEADER {
        return None;
    }
    let value_at = RECORD_HEADER.checked_add(to_usize(u64::from(u32_at(bytes, 16))))?;
    let head = bytes.get(12..value_at)?;
    (u32_at(bytes, 8) == crc(at as u64, head)).then(|| &bytes[RECORD_HEADER..value_at])
}

fn crc(offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
