//! One deal from intent to Active, as a pure state machine: `apply(Event) -> Vec<Effect>`.
//!
//! The chain knows no time-outs and no re-assignment: a deal stays open until twelve miners have
//! reported, so both are ours. The machine keeps, for each column, who shall hold it and how far
//! that is; it never asks for a second declaration of a deal that may have been declared
//! (the chain would lock its space twice), and never gives two columns to one miner.
//!
//! ```text
//!   Intent --look--> [file on chain]  -> Active
//!                    [deal on chain]  -> Sending
//!                    [neither]        -> declare -> Sending
//!   Sending: each column  Wanted -> Sending -> Sent -> Reported
//!            a failed send, or a report that does not come, gives the column to a spare miner
//!   12 x Sent     = dispersed
//!   file on chain = Active = finalized
//! ```

use std::time::Duration;

use gw_types::ports::{FileState, MinerAddr};
use gw_types::{AccountId, FRAGMENTS, FragmentIndex};

/// How long after its send a miner may take to report before its column is given to another as
/// well. A dev chain reports within a second; a real miner sends `transfer_report` in the next
/// blocks, so ten blocks of six seconds are patient.
pub const REPORT_PATIENCE: Duration = Duration::from_secs(60);

/// What can happen to a deal.
#[derive(Clone, Debug)]
pub enum Event {
    /// The chain has neither a file nor a deal of this fid.
    NotOnChain,
    /// The declaration is in a finalized block.
    Declared,
    /// The chain refused the declaration: nothing was declared. The carrier ends here.
    Refused,
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
    /// Time passes; `now` never goes back.
    Tick(Duration),
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send `upload_declaration` (once).
    Declare,
    /// Send every fragment of this column to this miner.
    Send(FragmentIndex, MinerAddr),
    /// Find a miner that holds no column of this deal and has room.
    FindSpare,
    /// Every column is held by a miner that acknowledged it.
    Dispersed,
    /// The deal is Active on chain.
    Finalized,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Column {
    /// No miner.
    Orphan,
    /// To be sent as soon as the deal is declared.
    Wanted(MinerAddr),
    Sending(MinerAddr),
    /// Held, but the chain does not know yet; `Duration` is when it was sent.
    Sent(MinerAddr, Duration),
    /// The chain knows the holder.
    Reported(AccountId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Looking,
    Declaring,
    Open,
    Active,
}

/// The state of one deal.
#[derive(Clone, Debug)]
pub struct Deal {
    phase: Phase,
    columns: Vec<Column>,
    /// Miners that failed us in this deal: not asked again in this run.
    failed: Vec<AccountId>,
    dispersed: bool,
    now: Duration,
}

impl Deal {
    /// A deal whose intent is synced. Columns are given to the twelve miners in order.
    pub fn new(miners: [MinerAddr; FRAGMENTS], now: Duration) -> Self {
        Self {
            phase: Phase::Looking,
            columns: miners.into_iter().map(Column::Wanted).collect(),
            failed: Vec::new(),
            dispersed: false,
            now,
        }
    }

    /// Every miner that has, gets or failed a column.
    pub fn taken(&self) -> Vec<AccountId> {
        let holders = self.columns.iter().filter_map(Column::miner);
        self.failed.iter().copied().chain(holders).collect()
    }

    /// Whether the chain has it as a file.
    pub fn is_active(&self) -> bool {
        self.phase == Phase::Active
    }

    /// Whether a declaration is in a finalized block (so the deal must be carried through).
    pub fn is_declared(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Active)
    }

    /// Columns held or reported, 0..=12, for progress.
    pub fn held(&self) -> usize {
        self.columns.iter().filter(|column| matches!(column, Column::Sent(..) | Column::Reported(_))).count()
    }

    /// Takes in what happened and says what to do.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::NotOnChain if self.phase == Phase::Looking => {
                self.phase = Phase::Declaring;
                vec![Effect::Declare]
            }
            Event::NotOnChain | Event::Refused => Vec::new(),
            Event::Declared => self.open(&[]),
            Event::Open(reported) => self.open(&reported),
            Event::Completed(file) => self.complete(&file),
            Event::Sent(index, miner) => self.sent(index, miner),
            Event::SendFailed(index, miner) => self.send_failed(index, miner),
            Event::Spare(miner) => self.spare(miner),
            Event::Tick(now) => self.tick(now),
        }
    }

    fn open(&mut self, reported: &[(FragmentIndex, AccountId)]) -> Vec<Effect> {
        if self.phase == Phase::Active {
            return Vec::new();
        }
        self.phase = Phase::Open;
        for (index, miner) in reported {
            self.columns[index.get()] = Column::Reported(*miner);
        }
        // A miner may have reported another column than the one meant for it (a resumed deal).
        let holders: Vec<AccountId> = reported.iter().map(|(_, miner)| *miner).collect();
        for column in &mut self.columns {
            if !matches!(column, Column::Reported(_)) && column.miner().is_some_and(|miner| holders.contains(&miner)) {
                *column = Column::Orphan;
            }
        }
        let mut effects = self.send_wanted();
        effects.extend(self.find_spares());
        effects.extend(self.maybe_dispersed());
        effects
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

    fn find_spares(&self) -> Vec<Effect> {
        let orphans = self.columns.iter().filter(|column| **column == Column::Orphan).count();
        vec![Effect::FindSpare; orphans]
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
        let mut effects = Vec::new();
        if !std::mem::replace(&mut self.dispersed, true) {
            effects.push(Effect::Dispersed);
        }
        effects.push(Effect::Finalized);
        effects
    }

    fn sent(&mut self, index: FragmentIndex, miner: AccountId) -> Vec<Effect> {
        let now = self.now;
        let column = &mut self.columns[index.get()];
        if let Column::Sending(addr) = column
            && addr.account == miner
        {
            *column = Column::Sent(addr.clone(), now);
        }
        self.maybe_dispersed()
    }

    fn maybe_dispersed(&mut self) -> Vec<Effect> {
        if self.dispersed || self.held() < FRAGMENTS {
            return Vec::new();
        }
        self.dispersed = true;
        vec![Effect::Dispersed]
    }

    fn send_failed(&mut self, index: FragmentIndex, miner: AccountId) -> Vec<Effect> {
        let column = &mut self.columns[index.get()];
        if !matches!(column, Column::Sending(addr) if addr.account == miner) {
            return Vec::new();
        }
        *column = Column::Orphan;
        self.failed.push(miner);
        vec![Effect::FindSpare]
    }

    fn spare(&mut self, miner: MinerAddr) -> Vec<Effect> {
        let holds = self.columns.iter().any(|column| column.miner() == Some(miner.account));
        let orphan = FragmentIndex::all().find(|index| self.columns[index.get()] == Column::Orphan);
        match (holds, orphan) {
            (false, Some(index)) => {
                self.failed.retain(|failed| *failed != miner.account);
                self.columns[index.get()] = Column::Sending(miner.clone());
                vec![Effect::Send(index, miner)]
            }
            _ => Vec::new(),
        }
    }

    fn tick(&mut self, now: Duration) -> Vec<Effect> {
        self.now = self.now.max(now);
        if self.phase != Phase::Open {
            return Vec::new();
        }
        for column in &mut self.columns {
            if let Column::Sent(miner, since) = column
                && now.saturating_sub(*since) >= REPORT_PATIENCE
            {
                self.failed.push(miner.account);
                *column = Column::Orphan;
            }
        }
        self.find_spares()
    }
}

impl Column {
    fn miner(&self) -> Option<AccountId> {
        match self {
            Self::Orphan => None,
            Self::Wanted(miner) | Self::Sending(miner) | Self::Sent(miner, _) => Some(miner.account),
            Self::Reported(miner) => Some(*miner),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::array;
    use std::time::Duration;

    use gw_types::ports::{FileSegment, FileState, MinerAddr, PlacedFragment};
    use gw_types::{AccountId, FragmentIndex, Hash32};

    use super::{Deal, Effect, Event, REPORT_PATIENCE};

    fn miner(number: usize) -> MinerAddr {
        MinerAddr { account: AccountId([number as u8; 32]), endpoint: format!("http://127.0.0.1:{number}") }
    }

    fn deal() -> Deal {
        Deal::new(array::from_fn(miner), Duration::ZERO)
    }

    fn index(number: u8) -> FragmentIndex {
        FragmentIndex::new(number).unwrap()
    }

    fn file() -> FileState {
        let fragments = (0..12)
            .map(|number| PlacedFragment { hash: Hash32([0; 32]), miner: miner(number).account, available: true })
            .collect();
        FileState {
            segments: vec![FileSegment { hash: Hash32([0; 32]), fragments }],
            file_size: 0,
            held_as: None,
            completed_at: 1,
        }
    }

    fn declared() -> Deal {
        let mut deal = deal();
        assert_eq!(deal.apply(Event::NotOnChain), [Effect::Declare]);
        let sends = deal.apply(Event::Declared);
        assert_eq!(sends.len(), 12);
        deal
    }

    #[test]
    fn nothing_is_declared_twice() {
        let mut deal = deal();
        assert_eq!(deal.apply(Event::NotOnChain), [Effect::Declare]);
        assert!(deal.apply(Event::NotOnChain).is_empty());
        let mut resumed = self::deal();
        let effects = resumed.apply(Event::Open(vec![(index(0), miner(0).account)]));
        assert!(!effects.contains(&Effect::Declare));
        assert_eq!(effects.len(), 11);
    }

    #[test]
    fn dispersed_after_twelve_acknowledged_columns_and_finalized_with_the_file() {
        let mut deal = declared();
        for number in 0..11 {
            assert!(deal.apply(Event::Sent(index(number), miner(number.into()).account)).is_empty());
        }
        assert_eq!(deal.apply(Event::Sent(index(11), miner(11).account)), [Effect::Dispersed]);
        assert_eq!(deal.apply(Event::Completed(file())), [Effect::Finalized]);
        assert!(deal.apply(Event::Completed(file())).is_empty());
    }

    #[test]
    fn a_failed_column_goes_to_a_spare_and_never_to_a_holder() {
        let mut deal = declared();
        assert_eq!(deal.apply(Event::SendFailed(index(3), miner(3).account)), [Effect::FindSpare]);
        assert!(deal.apply(Event::Spare(miner(5))).is_empty());
        assert_eq!(deal.apply(Event::Spare(miner(20))), [Effect::Send(index(3), miner(20))]);
        assert!(deal.taken().contains(&miner(3).account));
    }

    #[test]
    fn a_report_that_does_not_come_gives_the_column_away() {
        let mut deal = declared();
        deal.apply(Event::Sent(index(7), miner(7).account));
        assert!(deal.apply(Event::Tick(REPORT_PATIENCE / 2)).is_empty());
        assert_eq!(deal.apply(Event::Tick(REPORT_PATIENCE)), [Effect::FindSpare]);
    }

    #[test]
    fn a_miner_that_reported_another_column_frees_the_one_meant_for_it() {
        let mut deal = deal();
        let effects = deal.apply(Event::Open(vec![(index(0), miner(4).account)]));
        let sends = effects.iter().filter(|effect| matches!(effect, Effect::Send(..))).count();
        assert_eq!((sends, effects.contains(&Effect::FindSpare)), (10, true));
    }
}
