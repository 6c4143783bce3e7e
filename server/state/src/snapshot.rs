//! The state as a file: written from a clone while the applier goes on, read back when a server starts.
//!
//! Layout: the magic `ORCHSNAP`, the format version (u16, little endian), then a zstd stream of records, each a tag
//! (u8), a length (u32, little endian) and that many bytes of a model document. The last record is an end mark with the
//! number of records before it and the CRC-32 of their bytes, so a file that was cut or altered is noticed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use imbl::OrdMap;
use orch_model::ids::PlanId;
use orch_model::plan::PlanResult;
use orch_model::scaling::ScalingEvents;
use orch_model::volume::VolumeClaim;
use orch_model::{
    Allocation, Deployment, Evaluation, HostVolume, Job, JobKey, JobVersionKey, Namespace, Node, StateIndex, document,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::row::{GroupSummary, JobRow, Submission};
use crate::scope::Table;
use crate::state::{Meta, State};
use crate::tx::claim_key;
use crate::usage::UsageView;

const MAGIC: &[u8; 8] = b"ORCHSNAP";

/// The version of the layout that this build writes, and the newest it reads.
pub const FORMAT: u16 = 3;

/// No record is larger: a longer length can only be damage.
const MAX_RECORD: usize = 64 << 20;

/// Why a snapshot could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read or written.
    #[error("the snapshot cannot be read or written")]
    Io(#[from] io::Error),
    /// It is not a snapshot.
    #[error("this is not a snapshot of orch: it does not start with ORCHSNAP")]
    NotASnapshot,
    /// It was written by a newer version.
    #[error("the snapshot has format {found}, this build reads formats up to {FORMAT}: run a newer orch")]
    NewerFormat {
        /// The format of the file.
        found: u16,
    },
    /// It was cut or altered.
    #[error("the snapshot is damaged at record {record}: {what}")]
    Damaged {
        /// Which record, counted from 0.
        record: u64,
        /// What is wrong with it.
        what: String,
    },
    /// A record cannot be encoded or decoded.
    #[error("record {record} of the snapshot cannot be understood")]
    Document {
        /// Which record, counted from 0.
        record: u64,
        /// Why.
        #[source]
        source: document::Error,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Tag {
    End = 0,
    Meta = 1,
    Version = 2,
    Job = 3,
    Submission = 4,
    Node = 5,
    Alloc = 6,
    Eval = 7,
    TableIndex = 8,
    NamespaceIndex = 9,
    NodeAllocsIndex = 10,
    /// A version that is not kept for its own sake, but because an allocation runs it.
    RunVersion = 11,
    Deployment = 12,
    HostVolume = 13,
    VolumeClaim = 14,
}

impl Tag {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::End,
            Self::Meta,
            Self::Version,
            Self::Job,
            Self::Submission,
            Self::Node,
            Self::Alloc,
            Self::Eval,
            Self::TableIndex,
            Self::NamespaceIndex,
            Self::NodeAllocsIndex,
            Self::RunVersion,
            Self::Deployment,
            Self::HostVolume,
            Self::VolumeClaim,
        ]
        .into_iter()
        .find(|tag| *tag as u8 == byte)
    }
}

/// A job's row, but for what is counted anew and the job itself, which stands among the versions unless it changed.
#[derive(Debug, Serialize, Deserialize)]
struct RowRecord {
    job: Job,
    placed_index: StateIndex,
    last_plan: Option<(PlanId, PlanResult)>,
    evaluated: bool,
    allocs_index: StateIndex,
    evals_index: StateIndex,
    summary: BTreeMap<String, GroupSummary>,
    summary_index: StateIndex,
    #[serde(default)]
    deployments_index: StateIndex,
    #[serde(default)]
    scaling: ScalingEvents,
    #[serde(default)]
    scaling_index: StateIndex,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndRecord {
    records: u64,
    crc32: u32,
}

/// Writes the state.
pub fn write(state: &State, out: impl Write) -> Result<(), Error> {
    let mut out = out;
    out.write_all(MAGIC)?;
    out.write_all(&FORMAT.to_le_bytes())?;
    let mut encoder = zstd::Encoder::new(out, 1)?;
    encoder.include_checksum(true)?;
    let mut writer = Writer { out: encoder, buffer: Vec::new(), records: 0, crc: crc32fast::Hasher::new() };
    writer.put(Tag::Meta, state.meta())?;
    write_versions(state, &mut writer)?;
    for row in state.jobs() {
        writer.put(Tag::Job, &row_record(row))?;
    }
    for (key, submission) in &state.submissions {
        writer.put(Tag::Submission, &(key, &**submission))?;
    }
    for node in state.nodes() {
        writer.put(Tag::Node, &**node)?;
    }
    for alloc in state.allocs() {
        writer.put(Tag::Alloc, &alloc.to_record())?;
    }
    for eval in state.evals() {
        writer.put(Tag::Eval, &**eval)?;
    }
    for deployment in state.deployments() {
        writer.put(Tag::Deployment, &**deployment)?;
    }
    for volume in state.host_volumes() {
        writer.put(Tag::HostVolume, &**volume)?;
    }
    for claim in state.volume_claims() {
        writer.put(Tag::VolumeClaim, &**claim)?;
    }
    for (table, index) in &state.table_indexes {
        writer.put(Tag::TableIndex, &(table_code(*table), index))?;
    }
    for ((table, namespace), index) in &state.namespace_indexes {
        writer.put(Tag::NamespaceIndex, &(table_code(*table), namespace, index))?;
    }
    for (node, allocs) in &state.allocs_by_node {
        writer.put(Tag::NodeAllocsIndex, &(node, allocs.index))?;
    }
    writer.finish()
}

/// Every version of a job that is kept or that an allocation still runs.
fn write_versions<W: Write>(state: &State, writer: &mut Writer<W>) -> Result<(), Error> {
    for job in state.versions.values() {
        writer.put(Tag::Version, &**job)?;
    }
    let mut others: BTreeMap<JobVersionKey, Arc<Job>> = BTreeMap::new();
    for allocs in state.allocs_by_job.values() {
        let mut last: Option<&Arc<Job>> = None;
        for alloc in allocs.values() {
            if last.is_some_and(|last| Arc::ptr_eq(last, &alloc.job)) {
                continue;
            }
            last = Some(&alloc.job);
            let key = alloc.job.version_key();
            if !state.versions.contains_key(&key) {
                others.insert(key, Arc::clone(&alloc.job));
            }
        }
    }
    for job in others.values() {
        writer.put(Tag::RunVersion, &**job)?;
    }
    Ok(())
}

fn row_record(row: &JobRow) -> RowRecord {
    let JobRow {
        job,
        placed_index,
        last_plan,
        live_allocs: _,
        live_evals: _,
        evaluated,
        allocs_index,
        evals_index,
        summary,
        summary_index,
        active_deployment: _,
        deployments_index,
        scaling,
        scaling_index,
    } = row;
    RowRecord {
        job: (**job).clone(),
        placed_index: *placed_index,
        last_plan: last_plan.as_ref().map(|(id, result)| (*id, (**result).clone())),
        evaluated: *evaluated,
        allocs_index: *allocs_index,
        evals_index: *evals_index,
        summary: (**summary).clone(),
        summary_index: *summary_index,
        deployments_index: *deployments_index,
        scaling: (**scaling).clone(),
        scaling_index: *scaling_index,
    }
}

struct Writer<W: Write> {
    out: zstd::Encoder<'static, W>,
    buffer: Vec<u8>,
    records: u64,
    crc: crc32fast::Hasher,
}

impl<W: Write> Writer<W> {
    fn put<T: Serialize + ?Sized>(&mut self, tag: Tag, value: &T) -> Result<(), Error> {
        self.buffer.clear();
        document::encode_into(value, &mut self.buffer)
            .map_err(|source| Error::Document { record: self.records, source })?;
        let len = u32::try_from(self.buffer.len()).ok().filter(|len| *len as usize <= MAX_RECORD).ok_or_else(|| {
            Error::Damaged { record: self.records, what: format!("it would be {} bytes long", self.buffer.len()) }
        })?;
        if tag != Tag::End {
            self.crc.update(&[tag as u8]);
            self.crc.update(&self.buffer);
            self.records += 1;
        }
        self.out.write_all(&[tag as u8])?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&self.buffer)?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), Error> {
        let end = EndRecord { records: self.records, crc32: self.crc.clone().finalize() };
        self.put(Tag::End, &end)?;
        self.out.finish()?.flush()?;
        Ok(())
    }
}

/// Reads a state back.
pub fn read(input: impl Read) -> Result<State, Error> {
    let mut input = input;
    let mut head = [0_u8; 10];
    input.read_exact(&mut head).map_err(|_| Error::NotASnapshot)?;
    let (magic, format) = head.split_at(8);
    if magic != MAGIC {
        return Err(Error::NotASnapshot);
    }
    let format = u16::from_le_bytes([format[0], format[1]]);
    if format > FORMAT {
        return Err(Error::NewerFormat { found: format });
    }
    if format == 0 {
        return Err(Error::Damaged { record: 0, what: "there is no format 0".into() });
    }
    let mut reader =
        Reader { input: zstd::Decoder::new(input)?, buffer: Vec::new(), record: 0, crc: crc32fast::Hasher::new() };
    let mut loader = Loader::default();
    while let Some(tag) = reader.next()? {
        loader.take(tag, &reader)?;
    }
    loader.finish(reader.record)
}

struct Reader<R: Read> {
    input: zstd::Decoder<'static, io::BufReader<R>>,
    buffer: Vec<u8>,
    /// How many records were read.
    record: u64,
    crc: crc32fast::Hasher,
}

impl<R: Read> Reader<R> {
    fn damaged(&self, what: impl Into<String>) -> Error {
        Error::Damaged { record: self.record, what: what.into() }
    }

    /// Reads the next record into the buffer; `None` after the end mark, once it was found to be right.
    fn next(&mut self) -> Result<Option<Tag>, Error> {
        let mut head = [0_u8; 5];
        self.fill(&mut head)?;
        let tag = Tag::from_byte(head[0]).ok_or_else(|| self.damaged(format!("unknown kind {}", head[0])))?;
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if len > MAX_RECORD {
            return Err(self.damaged(format!("it claims to be {len} bytes long")));
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(len, 0);
        let filled = self.fill(&mut buffer);
        self.buffer = buffer;
        filled?;
        if tag == Tag::End {
            let end: EndRecord = self.document()?;
            if end.records != self.record || end.crc32 != self.crc.clone().finalize() {
                return Err(self.damaged("the checksum at the end does not match"));
            }
            if self.input.read(&mut head).map_err(|error| self.damaged(format!("the end is missing ({error})")))? > 0 {
                return Err(self.damaged("something follows the end mark"));
            }
            return Ok(None);
        }
        self.crc.update(&[tag as u8]);
        self.crc.update(&self.buffer);
        self.record += 1;
        Ok(Some(tag))
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), Error> {
        self.input.read_exact(into).map_err(|error| self.damaged(format!("the file ends or is altered here ({error})")))
    }

    fn document<T: DeserializeOwned>(&self) -> Result<T, Error> {
        document::decode_strict(&self.buffer).map_err(|source| Error::Document { record: self.record, source })
    }
}

#[derive(Default)]
struct Loader {
    state: State,
    /// Every version that was read, kept or run.
    versions: BTreeMap<JobVersionKey, Arc<Job>>,
    meta_seen: bool,
}

impl Loader {
    fn take<R: Read>(&mut self, tag: Tag, reader: &Reader<R>) -> Result<(), Error> {
        match tag {
            Tag::End => {}
            Tag::Meta => {
                self.state.meta = Arc::new(reader.document::<Meta>()?);
                self.meta_seen = true;
            }
            Tag::Version => {
                let job: Job = reader.document()?;
                let job = Arc::new(job);
                self.state.versions.insert(job.version_key(), Arc::clone(&job));
                self.versions.insert(job.version_key(), job);
            }
            Tag::RunVersion => {
                let job: Job = reader.document()?;
                self.versions.insert(job.version_key(), Arc::new(job));
            }
            Tag::Job => self.take_job(reader.document()?),
            Tag::Submission => {
                let (key, submission): (JobVersionKey, Submission) = reader.document()?;
                self.state.submissions.insert(key, Arc::new(submission));
            }
            Tag::Node => {
                let node: Node = reader.document()?;
                self.state.nodes.insert(node.id, Arc::new(node));
            }
            Tag::Alloc => self.take_alloc(reader)?,
            Tag::Eval => {
                let eval: Evaluation = reader.document()?;
                self.state.evals_by_job.entry(eval.job_key()).or_default().insert(eval.id);
                self.state.evals.insert(eval.id, Arc::new(eval));
            }
            Tag::Deployment => {
                let deployment: Deployment = reader.document()?;
                let key = deployment.job_key().clone();
                self.state.deployments_by_job.entry(key).or_default().insert(deployment.id);
                self.state.deployments.insert(deployment.id, Arc::new(deployment));
            }
            Tag::HostVolume => {
                let volume: HostVolume = reader.document()?;
                self.state.host_volumes_by_node.entry(volume.node_id).or_default().insert(volume.id);
                self.state.host_volumes.insert(volume.id, Arc::new(volume));
            }
            Tag::VolumeClaim => {
                let claim: VolumeClaim = reader.document()?;
                self.state.volume_claims.insert(claim_key(&claim), Arc::new(claim));
            }
            Tag::TableIndex => {
                let (code, index): (u8, StateIndex) = reader.document()?;
                self.state.table_indexes.insert(known_table(reader, code)?, index);
            }
            Tag::NamespaceIndex => {
                let (code, namespace, index): (u8, Namespace, StateIndex) = reader.document()?;
                self.state.namespace_indexes.insert((known_table(reader, code)?, namespace), index);
            }
            Tag::NodeAllocsIndex => {
                let (node, index) = reader.document()?;
                self.state.allocs_by_node.entry(node).or_default().index = index;
            }
        }
        Ok(())
    }

    fn take_job(&mut self, record: RowRecord) {
        let key = record.job.key();
        let version = self.versions.get(&record.job.version_key());
        let job = match version {
            Some(version) if **version == record.job => Arc::clone(version),
            Some(_) | None => Arc::new(record.job),
        };
        let row = JobRow {
            job,
            placed_index: record.placed_index,
            last_plan: record.last_plan.map(|(id, result)| (id, Arc::new(result))),
            live_allocs: 0,
            live_evals: 0,
            evaluated: record.evaluated,
            allocs_index: record.allocs_index,
            evals_index: record.evals_index,
            summary: Arc::new(record.summary),
            summary_index: record.summary_index,
            active_deployment: None,
            deployments_index: record.deployments_index,
            scaling: Arc::new(record.scaling),
            scaling_index: record.scaling_index,
        };
        self.state.jobs.insert(key, Arc::new(row));
    }

    fn take_alloc<R: Read>(&mut self, reader: &Reader<R>) -> Result<(), Error> {
        let record: Allocation<JobVersionKey> = reader.document()?;
        let job =
            self.versions.get(&record.job).cloned().ok_or_else(|| {
                reader.damaged(format!("allocation {} runs a job version that is missing", record.id))
            })?;
        let alloc = Arc::new(record.with_job(job));
        let state = &mut self.state;
        state.allocs_by_job.entry(alloc.job_key()).or_default().insert(alloc.id, Arc::clone(&alloc));
        state.allocs_by_node.entry(alloc.node_id).or_default().ids.insert(alloc.id);
        state.allocs.insert(alloc.id, alloc);
        Ok(())
    }

    /// Derives what is not written: counts and the usage view.
    fn finish(self, records: u64) -> Result<State, Error> {
        let Self { mut state, versions: _, meta_seen } = self;
        if !meta_seen {
            return Err(Error::Damaged { record: records, what: "there is no meta record".into() });
        }
        let counted: OrdMap<JobKey, Arc<JobRow>> = state
            .jobs
            .iter()
            .map(|(key, row)| {
                let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
                let mut row = (**row).clone();
                row.live_allocs = count(state.allocs_of_job(key).filter(|alloc| !alloc.is_terminal()).count());
                row.live_evals = count(state.evals_of_job(key).filter(|eval| !eval.status.is_terminal()).count());
                let active = state.deployments_of_job(key).find(|deployment| deployment.is_active());
                row.active_deployment = active.map(|deployment| deployment.id);
                (key.clone(), Arc::new(row))
            })
            .collect();
        state.jobs = counted;
        state.usage = UsageView::rebuild(state.nodes.values(), state.host_volumes.values(), state.allocs.values());
        Ok(state)
    }
}

fn known_table<R: Read>(reader: &Reader<R>, code: u8) -> Result<Table, Error> {
    table_of(code).ok_or_else(|| reader.damaged(format!("there is no table {code}")))
}

const fn table_code(table: Table) -> u8 {
    match table {
        Table::Jobs => 1,
        Table::Evals => 2,
        Table::Allocs => 3,
        Table::Nodes => 4,
        Table::SchedulerConfig => 5,
        Table::Deployments => 6,
        Table::HostVolumes => 7,
        Table::VolumeClaims => 8,
    }
}

fn table_of(code: u8) -> Option<Table> {
    Table::ALL.into_iter().find(|table| table_code(*table) == code)
}
