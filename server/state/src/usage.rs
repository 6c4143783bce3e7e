//! What is used of each node: columns in shared chunks, copied on write per chunk.
//!
//! Derived from nodes and allocations, never written to a snapshot. Scheduler and applier both ask it, so what one
//! thinks fits is what the other commits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use imbl::OrdMap;
use orch_model::units::{Mhz, Usage};
use orch_model::volume::VolumeAsk;
use orch_model::{Allocation, HostVolume, Node, NodeId};
use smallvec::SmallVec;

/// How many rows a chunk holds: large enough to scan well, small enough to copy when one row changes.
pub const CHUNK_ROWS: usize = 256;

/// Where a node's row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub u32);

/// What is used of each node.
#[derive(Debug, Clone, Default)]
pub struct UsageView {
    chunks: Arc<Vec<Arc<Vec<NodeRow>>>>,
    places: OrdMap<NodeId, RowId>,
    /// Rows whose node is gone, to be taken again.
    vacant: OrdMap<RowId, ()>,
}

/// One node as placement sees it.
#[derive(Debug, Clone)]
pub struct NodeRow {
    /// The node; `None` while the row is vacant.
    pub node: Option<Arc<Node>>,
    /// Whether new work may be placed here.
    pub ready: bool,
    /// What the node can give.
    pub capacity: Usage,
    /// What its allocations hold.
    pub used: Usage,
    /// How many allocations hold something.
    pub allocs: u32,
    /// The most allocations it takes; 0 means no limit.
    pub max_allocs: u32,
    /// The ports they hold.
    pub ports: Arc<PortsInUse>,
    /// The cores they hold, each for one alone.
    pub cores: CoresInUse,
    /// Its dynamic host volumes, and who writes to volumes; `None` where there are neither.
    pub volumes: Option<Arc<NodeVolumes>>,
}

/// The dynamic host volumes of a node, and how many allocations write to its volumes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeVolumes {
    dynamic: BTreeMap<String, Arc<HostVolume>>,
    writers: BTreeMap<String, Writers>,
}

/// How many allocations write to a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Writers {
    /// All of them.
    pub all: u32,
    /// Those that want to be the only one.
    pub single: u32,
}

impl Writers {
    /// With one more, or one less, of what asks for a volume in that way.
    pub(crate) fn count(&mut self, ask: &VolumeAsk, more: bool) {
        let step = |count: &mut u32| *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        if !ask.read_only {
            step(&mut self.all);
        }
        if ask.is_single_writer() {
            step(&mut self.single);
        }
    }
}

impl NodeRow {
    const fn vacant(ports: Arc<PortsInUse>) -> Self {
        const NOTHING: Usage = Usage {
            cpu: orch_model::Mhz::ZERO,
            memory: orch_model::MebiBytes::ZERO,
            disk: orch_model::MebiBytes::ZERO,
        };
        Self {
            node: None,
            ready: false,
            capacity: NOTHING,
            used: NOTHING,
            allocs: 0,
            max_allocs: 0,
            ports,
            cores: CoresInUse(None),
            volumes: None,
        }
    }

    /// The dynamic host volume of that name.
    pub fn dynamic_volume(&self, name: &str) -> Option<&Arc<HostVolume>> {
        self.volumes.as_ref()?.dynamic.get(name)
    }

    /// How many allocations write to the volume of that name.
    pub fn writers(&self, name: &str) -> Writers {
        self.volumes.as_ref().and_then(|volumes| volumes.writers.get(name)).copied().unwrap_or_default()
    }

    /// Changes what is known of the volumes; nothing is kept of a node that has none.
    fn edit_volumes(&mut self, edit: impl FnOnce(&mut NodeVolumes)) {
        let volumes = Arc::make_mut(self.volumes.get_or_insert_default());
        edit(volumes);
        if *volumes == NodeVolumes::default() {
            self.volumes = None;
        }
    }

    /// The cores that allocations may have for themselves, ascending; those that the operator keeps are not among them.
    pub fn reservable_cores(&self) -> &[u16] {
        self.node.as_ref().map_or(&[], |node| &node.described.resources.reservable_cores)
    }

    /// What one of the node's cores counts for.
    pub fn core_speed(&self) -> Mhz {
        let Some(node) = &self.node else { return Mhz::ZERO };
        let resources = &node.described.resources;
        Mhz(resources.cpu.0 / resources.total_cores.max(1))
    }
}

/// The cores that allocations hold on a node, sorted; a core that is held twice stands twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoresInUse(Option<Arc<Vec<u16>>>);

impl CoresInUse {
    /// How often `core` is held.
    pub fn count(&self, core: u16) -> usize {
        let held = self.as_slice();
        held.partition_point(|other| *other <= core) - held.partition_point(|other| *other < core)
    }

    /// The cores that are held.
    pub fn as_slice(&self) -> &[u16] {
        self.0.as_ref().map_or(&[], |held| held.as_slice())
    }

    /// Those of `cores`.
    #[cfg(test)]
    pub(crate) fn of(cores: &[u16]) -> Self {
        let mut held = Self::default();
        held.take(cores);
        held
    }

    fn take(&mut self, cores: &[u16]) {
        let held = Arc::make_mut(self.0.get_or_insert_default());
        held.extend_from_slice(cores);
        held.sort_unstable();
    }

    fn give_back(&mut self, cores: &[u16]) {
        let Some(shared) = &mut self.0 else { return };
        let held = Arc::make_mut(shared);
        for core in cores {
            if let Ok(at) = held.binary_search(core) {
                held.remove(at);
            }
        }
        if held.is_empty() {
            self.0 = None;
        }
    }
}

/// The ports that allocations hold on a node: per address, sorted.
///
/// A port that several allocations hold (where collisions are ignored) stands as often as it is held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PortsInUse {
    addresses: SmallVec<[(IpAddr, SmallVec<[u16; 8]>); 1]>,
}

impl PortsInUse {
    /// Whether `port` is held on `address`.
    pub fn contains(&self, address: IpAddr, port: u16) -> bool {
        self.on(address).binary_search(&port).is_ok()
    }

    /// How often `port` is held on `address`.
    pub fn count(&self, address: IpAddr, port: u16) -> usize {
        let held = self.on(address);
        held.partition_point(|other| *other <= port) - held.partition_point(|other| *other < port)
    }

    /// The ports held on `address`, sorted.
    pub fn on(&self, address: IpAddr) -> &[u16] {
        self.addresses.iter().find(|(other, _)| *other == address).map_or(&[], |(_, ports)| ports.as_slice())
    }

    /// Notes that a port is held once more.
    pub fn insert(&mut self, address: IpAddr, port: u16) {
        let at = match self.addresses.iter().position(|(other, _)| *other == address) {
            Some(at) => at,
            None => {
                self.addresses.push((address, SmallVec::new()));
                self.addresses.sort_by_key(|(address, _)| *address);
                self.addresses.iter().position(|(other, _)| *other == address).unwrap_or_default()
            }
        };
        if let Some((_, ports)) = self.addresses.get_mut(at) {
            let place = ports.partition_point(|held| *held < port);
            ports.insert(place, port);
        }
    }

    /// Notes that a port is held once less.
    pub fn remove(&mut self, address: IpAddr, port: u16) {
        if let Some((_, ports)) = self.addresses.iter_mut().find(|(other, _)| *other == address)
            && let Ok(place) = ports.binary_search(&port)
        {
            ports.remove(place);
        }
        self.addresses.retain(|(_, ports)| !ports.is_empty());
    }
}

impl UsageView {
    /// The row of a node.
    pub fn row(&self, node: &NodeId) -> Option<&NodeRow> {
        self.at(*self.places.get(node)?)
    }

    /// Where the row of a node is.
    pub fn place_of(&self, node: &NodeId) -> Option<RowId> {
        self.places.get(node).copied()
    }

    /// The row at a place.
    pub fn at(&self, place: RowId) -> Option<&NodeRow> {
        let place = place.0 as usize;
        self.chunks.get(place / CHUNK_ROWS)?.get(place % CHUNK_ROWS)
    }

    /// Every chunk of rows, vacant ones among them; the place of a row is `chunk * CHUNK_ROWS + its position`.
    pub fn chunks(&self) -> &[Arc<Vec<NodeRow>>] {
        &self.chunks
    }

    /// Every row that belongs to a node, with its place.
    pub fn rows(&self) -> impl Iterator<Item = (RowId, &NodeRow)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter())
            .zip(0_u32..)
            .filter(|(row, _)| row.node.is_some())
            .map(|(row, place)| (RowId(place), row))
    }

    /// The view of these nodes, dynamic host volumes and allocations, made anew.
    pub fn rebuild<'a>(
        nodes: impl Iterator<Item = &'a Arc<Node>>,
        volumes: impl Iterator<Item = &'a Arc<HostVolume>>,
        allocs: impl Iterator<Item = &'a Arc<Allocation>>,
    ) -> Self {
        let mut view = Self::default();
        for node in nodes {
            view.put_node(node);
        }
        for volume in volumes {
            view.put_volume(volume);
        }
        for alloc in allocs {
            view.replace_alloc(None, Some(alloc));
        }
        view
    }

    /// Takes over what changed about a node.
    pub(crate) fn put_node(&mut self, node: &Arc<Node>) {
        let place = self.place_for(node.id);
        if let Some(row) = self.row_mut(place) {
            row.ready = node.is_ready();
            row.capacity = node.capacity();
            row.max_allocs = node.described.max_allocs;
            row.node = Some(Arc::clone(node));
        }
    }

    /// Forgets a node that holds no allocations any more.
    pub(crate) fn remove_node(&mut self, node: &NodeId) {
        if let Some(place) = self.places.remove(node) {
            if let Some(row) = self.row_mut(place) {
                *row = NodeRow::vacant(Arc::default());
            }
            self.vacant.insert(place, ());
        }
    }

    /// Takes over a dynamic host volume; one of a node that is not there is left out.
    pub(crate) fn put_volume(&mut self, volume: &Arc<HostVolume>) {
        let place = self.places.get(&volume.node_id).copied();
        if let Some(row) = place.and_then(|place| self.row_mut(place)) {
            row.edit_volumes(|volumes| {
                volumes.dynamic.insert(volume.name.clone(), Arc::clone(volume));
            });
        }
    }

    /// Forgets a dynamic host volume.
    pub(crate) fn remove_volume(&mut self, volume: &HostVolume) {
        let place = self.places.get(&volume.node_id).copied();
        if let Some(row) = place.and_then(|place| self.row_mut(place)) {
            row.edit_volumes(|volumes| {
                volumes.dynamic.remove(&volume.name);
            });
        }
    }

    /// Takes over that an allocation came, changed or went.
    pub(crate) fn replace_alloc(&mut self, old: Option<&Allocation>, new: Option<&Allocation>) {
        let old = old.filter(|alloc| alloc.holds_resources());
        let new = new.filter(|alloc| alloc.holds_resources());
        if let (Some(old), Some(new)) = (old, new)
            && old.node_id == new.node_id
            && old.usage == new.usage
            && old.ports == new.ports
            && old.cores == new.cores
            && have_same_volumes(old, new)
        {
            return;
        }
        if let Some(old) = old {
            self.hold(old, false);
        }
        if let Some(new) = new {
            self.hold(new, true);
        }
    }

    fn hold(&mut self, alloc: &Allocation, take: bool) {
        let place = self.places.get(&alloc.node_id).copied();
        let Some(row) = place.and_then(|place| self.row_mut(place)) else { return };
        if take {
            row.used = row.used.saturating_add(alloc.usage);
            row.allocs = row.allocs.saturating_add(1);
        } else {
            row.used = row.used.saturating_sub(alloc.usage);
            row.allocs = row.allocs.saturating_sub(1);
        }
        if !alloc.cores.is_empty() {
            if take { row.cores.take(&alloc.cores) } else { row.cores.give_back(&alloc.cores) }
        }
        for ask in alloc.host_volumes().filter(|ask| !ask.read_only) {
            row.edit_volumes(|volumes| {
                let writers = volumes.writers.entry(ask.source.clone()).or_default();
                writers.count(&ask, take);
                if *writers == Writers::default() {
                    volumes.writers.remove(&ask.source);
                }
            });
        }
        if !alloc.ports.is_empty() {
            let ports = Arc::make_mut(&mut row.ports);
            for port in &alloc.ports {
                if take {
                    ports.insert(port.address, port.value);
                } else {
                    ports.remove(port.address, port.value);
                }
            }
        }
    }

    fn place_for(&mut self, node: NodeId) -> RowId {
        if let Some(place) = self.places.get(&node) {
            return *place;
        }
        let place = match self.vacant.get_min().map(|(place, ())| *place) {
            Some(place) => {
                self.vacant.remove(&place);
                place
            }
            None => self.grow(),
        };
        self.places.insert(node, place);
        place
    }

    fn grow(&mut self) -> RowId {
        let chunks = Arc::make_mut(&mut self.chunks);
        if chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK_ROWS) {
            chunks.push(Arc::new(Vec::with_capacity(CHUNK_ROWS)));
        }
        let full = (chunks.len() - 1) * CHUNK_ROWS;
        let Some(chunk) = chunks.last_mut() else { return RowId(0) };
        let chunk = Arc::make_mut(chunk);
        chunk.push(NodeRow::vacant(Arc::default()));
        RowId(u32::try_from(full + chunk.len() - 1).expect("fewer than 2^32 nodes"))
    }

    fn row_mut(&mut self, place: RowId) -> Option<&mut NodeRow> {
        let place = place.0 as usize;
        let chunk = Arc::make_mut(&mut self.chunks).get_mut(place / CHUNK_ROWS)?;
        Arc::make_mut(chunk).get_mut(place % CHUNK_ROWS)
    }
}

fn have_same_volumes(old: &Allocation, new: &Allocation) -> bool {
    let is_same_group = Arc::ptr_eq(&old.job, &new.job) && old.group == new.group && old.index == new.index;
    is_same_group || old.host_volumes().eq(new.host_volumes())
}
