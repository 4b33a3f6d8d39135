//! One deal from intent to Active, as a pure state machine: `apply(Event) -> Vec<Effect>`.
//!
//! The chain knows no time-outs and no re-assignment: a deal stays open until twelve miners have
//! reported, so both are ours. The machine keeps, for each column, who shall hold it and how far
//! that is; it never asks for a second declaration of a deal that may have been declared
//! (the chain would lock its space twice), and never gives two columns to one miner.
//!
//! ```text
//!   Looking --> [file on chain]              -> Active
//!               [deal on chain]              -> Open
//!               [neither, and none can come] -> Declaring -> Open
//!   Open: each column  Wanted -> Sending -> Sent -> Reported
//!         a failed send gives the column to a spare miner; a report that does not come gives it to
//!         one that has not failed yet, if there is one
//!         the deal is no longer on chain (its territory expired) -> Gone
//!   12 x Sent     = dispersed
//!   file on chain = Active = finalized
//! ```
//!
//! Columns may be twins: segments with little in them have several fragments of zeros. A miner that
//! holds one of them holds all, and reports whichever it likes; the machine follows it.

use std::time::Duration;

use gw_types::ports::{FileState, MinerAddr};
use gw_types::{AccountId, FRAGMENTS, FragmentIndex};

/// How long after its send, and how many finalized blocks, a miner may take to report before another
/// one is looked for. A dev chain reports within a second; a real miner sends `transfer_report` in the
/// next blocks, so ten blocks of six seconds are patient. Both must have passed, so that a chain that
/// stands still costs no miner its column; the patience doubles with each miner that a column had, so
/// that a network which does not report is not flooded.
pub const REPORT_PATIENCE: Duration = Duration::from_secs(60);
/// See [`REPORT_PATIENCE`].
pub const REPORT_BLOCKS: u32 = 10;
/// How long a deal that was open must be absent from the chain before it is believed to be gone: one
/// of several nodes may lag behind.
pub const ABSENT_PATIENCE: Duration = Duration::from_secs(120);

/// What can happen to a deal.
#[derive(Clone, Debug)]
pub enum Event {
    /// The chain has neither a file nor a deal of this fid. `may_come`: a declaration that was sent
    /// earlier could still land.
    NotOnChain { may_come: bool },
    /// The declaration is in a finalized block.
    Declared,
    /// The chain has an open deal; these columns are reported.
    Open(Vec<(FragmentIndex, AccountId)>),
    /// The chain has the file: the deal is Active.
    Completed(FileState),
    /// All fragments of a column are held by their miner.
    Sent(FragmentIndex, AccountId),
    /// A column could not be sent.
    SendFailed(FragmentIndex, AccountId),
    /// A miner that may take a column which failed elsewhere.
    Spare(MinerAddr),
    /// No miner is free for one now.
    NoSpare,
    /// Time passes, and blocks: neither goes back. Comes right before what a look at the chain found.
    Tick(Duration, u32),
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send `upload_declaration` (once).
    Declare,
    /// The deal is on chain: it must be carried through.
    Opened,
    /// Send every fragment of this column to this miner.
    Send(FragmentIndex, MinerAddr),
    /// Find a miner that holds no column of this deal and has room; one search at a time.
    FindSpare,
    /// Every column is held by a miner that acknowledged it.
    Dispersed,
    /// The deal is Active on chain.
    Finalized,
    /// The chain has dropped the deal: nothing is declared any more.
    Gone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    /// No miner.
    Orphan,
    /// To be sent as soon as the deal is declared.
    Wanted(MinerAddr),
    Sending(MinerAddr),
    /// Held, but the chain does not know yet; since when, and since which block.
    Sent(MinerAddr, Duration, u32),
    /// The chain knows the holder.
    Reported(AccountId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Looking,
    Declaring,
    Open,
    Active,
    Gone,
}

/// The state of one deal.
#[derive(Clone, Debug)]
pub struct Deal {
    phase: Phase,
    columns: Vec<Column>,
    /// For each column the first that has the same fragments.
    twins: [u8; FRAGMENTS],
    /// Miners that failed us in this deal: asked again only for columns that nobody holds.
    failed: Vec<AccountId>,
    /// How often each column was taken from a miner that did not report.
    taken_away: [u32; FRAGMENTS],
    is_dispersed: bool,
    is_finding: bool,
    absent_since: Option<Duration>,
    now: Duration,
    block: u32,
}

impl Deal {
    /// A deal whose intent is synced. Columns are given to the twelve miners in order.
    pub fn new(miners: [MinerAddr; FRAGMENTS], twins: [u8; FRAGMENTS], now: Duration) -> Self {
        Self {
            phase: Phase::Looking,
            columns: miners.into_iter().map(Column::Wanted).collect(),
            twins,
            failed: Vec::new(),
            taken_away: [0; FRAGMENTS],
            is_dispersed: false,
            is_finding: false,
            absent_since: None,
            now,
            block: 0,
        }
    }

    /// Every miner that has or gets a column.
    pub fn holders(&self) -> Vec<AccountId> {
        self.columns.iter().filter_map(Column::miner).collect()
    }
    /// Every miner that failed.
    pub fn failed(&self) -> &[AccountId] {
        &self.failed
    }
    /// Whether its declaration is being sent.
    pub fn is_declaring(&self) -> bool {
        self.phase == Phase::Declaring
    }
    /// Whether a column has no miner.
    pub fn has_orphan(&self) -> bool {
        self.columns.contains(&Column::Orphan)
    }
    /// Whether a column has a miner that does not report.
    pub fn has_late(&self) -> bool {
        FragmentIndex::all().any(|index| self.is_late(index))
    }
    /// For progress.
    pub fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Looking => "looking",
            Phase::Declaring => "declaring",
            Phase::Open => "declared",
            Phase::Active => "active",
            Phase::Gone => "gone",
        }
    }
    /// Columns held or reported, 0..=12, for progress.
    pub fn held(&self) -> usize {
        self.columns.iter().filter(|column| matches!(column, Column::Sent(..) | Column::Reported(_))).count()
    }

    /// Takes in what happened and says what to do.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::NotOnChain { may_come } => self.not_on_chain(may_come),
            Event::Declared => self.open(&[]),
            Event::Open(reported) => self.open(&reported),
            Event::Completed(file) => self.complete(&file),
            Event::Sent(index, miner) => self.sent(index, miner),
            Event::SendFailed(index, miner) => self.send_failed(index, miner),
            Event::Spare(miner) => self.spare(miner),
            Event::NoSpare => {
                // The next tick looks again.
                self.is_finding = false;
                Vec::new()
            }
            Event::Tick(now, block) => self.tick(now, block),
        }
    }

    fn not_on_chain(&mut self, may_come: bool) -> Vec<Effect> {
        match self.phase {
            Phase::Looking if !may_come => {
                self.phase = Phase::Declaring;
                vec![Effect::Declare]
            }
            Phase::Open => {
                let since = *self.absent_since.get_or_insert(self.now);
                if self.now.saturating_sub(since) < ABSENT_PATIENCE {
                    return Vec::new();
                }
                self.phase = Phase::Gone;
                vec![Effect::Gone]
            }
            _ => Vec::new(),
        }
    }

    fn open(&mut self, reported: &[(FragmentIndex, AccountId)]) -> Vec<Effect> {
        if matches!(self.phase, Phase::Active | Phase::Gone) {
            return Vec::new();
        }
        self.absent_since = None;
        let mut effects = Vec::new();
        if self.phase != Phase::Open {
            self.phase = Phase::Open;
            effects.push(Effect::Opened);
        }
        self.follow(reported);
        effects.extend(self.send_wanted());
        effects.extend(self.find_spare());
        effects.extend(self.maybe_dispersed());
        effects
    }

    /// Takes over what the chain says: a miner may have reported another column than the one meant
    /// for it (a twin, or a resumed deal). Whoever was meant for that one gets its twin instead.
    fn follow(&mut self, reported: &[(FragmentIndex, AccountId)]) {
        let is_holder = |miner: AccountId| reported.iter().any(|(_, holder)| *holder == miner);
        let mut displaced = Vec::new();
        for (index, miner) in reported {
            let before = std::mem::replace(&mut self.columns[index.get()], Column::Reported(*miner));
            if before.miner().is_some_and(|before| !is_holder(before)) {
                displaced.push((self.twins[index.get()], before));
            }
        }
        for (column, twin) in self.columns.iter_mut().zip(self.twins) {
            let is_spent = !matches!(column, Column::Reported(_)) && column.miner().is_some_and(is_holder);
            if !is_spent {
                continue;
            }
            let heir = displaced.iter().position(|(of, _)| *of == twin);
            *column = heir.map_or(Column::Orphan, |heir| displaced.swap_remove(heir).1);
        }
    }

    fn send_wanted(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (index, column) in FragmentIndex::all().zip(&mut self.columns) {
            if let Column::Wanted(miner) = column {
                let miner = miner.clone();
                effects.push(Effect::Send(index, miner.clone()));
                *column = Column::Sending(miner);
            }
        }
        effects
    }

    fn find_spare(&mut self) -> Option<Effect> {
        let is_wanted = self.phase == Phase::Open && (self.has_orphan() || self.has_late());
        (is_wanted && !std::mem::replace(&mut self.is_finding, true)).then_some(Effect::FindSpare)
    }

    fn complete(&mut self, file: &FileState) -> Vec<Effect> {
        if self.phase == Phase::Active {
            return Vec::new();
        }
        self.phase = Phase::Active;
        if let Some(segment) = file.segments.first() {
            for (column, fragment) in self.columns.iter_mut().zip(&segment.fragments) {
                *column = Column::Reported(fragment.miner);
            }
        }
        vec![Effect::Finalized]
    }

    /// The column that this miner is being sent, when it was sent `index` or a twin of it.
    fn sending(&mut self, index: FragmentIndex, miner: AccountId) -> Option<&mut Column> {
        let twin = self.twins[index.get()];
        let columns = self.columns.iter_mut().zip(self.twins);
        columns
            .filter(|(_, of)| *of == twin)
            .map(|(column, _)| column)
            .find(|column| matches!(column, Column::Sending(addr) if addr.account == miner))
    }

    fn sent(&mut self, index: FragmentIndex, miner: AccountId) -> Vec<Effect> {
        let (now, block) = (self.now, self.block);
        if let Some(column) = self.sending(index, miner)
            && let Column::Sending(addr) = column
        {
            *column = Column::Sent(addr.clone(), now, block);
        }
        self.maybe_dispersed()
    }

    fn maybe_dispersed(&mut self) -> Vec<Effect> {
        if self.is_dispersed || self.held() < FRAGMENTS {
            return Vec::new();
        }
        self.is_dispersed = true;
        vec![Effect::Dispersed]
    }

    fn send_failed(&mut self, index: FragmentIndex, miner: AccountId) -> Vec<Effect> {
        let Some(column) = self.sending(index, miner) else { return Vec::new() };
        *column = Column::Orphan;
        self.fail(miner);
        self.find_spare().into_iter().collect()
    }

    fn fail(&mut self, miner: AccountId) {
        if !self.failed.contains(&miner) {
            self.failed.push(miner);
        }
    }

    fn spare(&mut self, miner: MinerAddr) -> Vec<Effect> {
        self.is_finding = false;
        let holds = self.columns.iter().any(|column| column.miner() == Some(miner.account));
        let orphan = FragmentIndex::all().find(|index| self.columns[index.get()] == Column::Orphan);
        let late = FragmentIndex::all().find(|index| self.is_late(*index));
        let late = late.filter(|_| !self.failed.contains(&miner.account));
        let mut effects = Vec::new();
        if let (false, Some(index)) = (holds, orphan.or(late)) {
            if let Some(before) = self.columns[index.get()].miner() {
                self.fail(before);
                self.taken_away[index.get()] += 1;
            }
            self.columns[index.get()] = Column::Sending(miner.clone());
            effects.push(Effect::Send(index, miner));
            effects.extend(self.find_spare());
        }
        effects
    }

    fn is_late(&self, index: FragmentIndex) -> bool {
        let patience = REPORT_PATIENCE * (1 << self.taken_away[index.get()].min(6));
        match &self.columns[index.get()] {
            Column::Sent(_, since, sent_at) => {
                self.now.saturating_sub(*since) >= patience
                    && self.block.saturating_sub(*sent_at) >= REPORT_BLOCKS
            }
            _ => false,
        }
    }

    fn tick(&mut self, now: Duration, block: u32) -> Vec<Effect> {
        self.now = self.now.max(now);
        self.block = self.block.max(block);
        self.find_spare().into_iter().collect()
    }
}

impl Column {
    fn miner(&self) -> Option<AccountId> {
        match self {
            Self::Orphan => None,
            Self::Wanted(miner) | Self::Sending(miner) | Self::Sent(miner, ..) => Some(miner.account),
            Self::Reported(miner) => Some(*miner),
        }
    }
}

#[cfg(test)]
#[path = "deal_tests.rs"]
mod tests;
