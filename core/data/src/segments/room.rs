//! How much of the territory bodies may still take.
//!
//! Staging protects this disk; room protects the territory: what is acknowledged must be able to go to
//! the network, and deleting and compacting need space there before they give any back. Whoever asks
//! the chain says from time to time how many sealed bytes may be taken ([`Room::set`]); reservations of
//! writers count against it until they are committed, and from then on the one who set it counts their
//! segments. What was committed while he was counting is known by a [`RoomMark`] that he took before, so
//! nothing is counted by neither. As long as nothing was set, nothing is refused here.
//!
//! Our own writes (log, compaction) pass by: the reserve is theirs.

use parking_lot::Mutex;

use crate::DataError;

/// How many bytes had been committed when the counting began. See [`crate::Data::room_mark`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomMark(u64);

#[derive(Debug, Default)]
pub(crate) struct Room(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Bytes that may still be reserved; below zero after the territory has shrunk for others' sake.
    /// `None`: nobody has said.
    left: Option<i128>,
    /// Reserved by writers, not committed.
    reserved: u64,
    /// Committed since open.
    committed: u64,
}

impl Room {
    pub(crate) fn take(&self, bytes: u64) -> Result<(), DataError> {
        let mut state = self.0.lock();
        if let Some(left) = &mut state.left {
            if *left < i128::from(bytes) {
                let left_bytes = u64::try_from(*left).unwrap_or(0);
                return Err(DataError::TerritoryFull { left_bytes, wanted_bytes: bytes });
            }
            *left -= i128::from(bytes);
        }
        state.reserved += bytes;
        Ok(())
    }

    /// Reserved bytes come back.
    pub(crate) fn give(&self, bytes: u64) {
        self.end(bytes, 0);
    }

    /// A reservation ends: `kept` of its bytes are in a commit.
    pub(crate) fn end(&self, reserved: u64, kept: u64) {
        let mut state = self.0.lock();
        state.reserved = state.reserved.checked_sub(reserved).expect("room gives back what was taken");
        state.committed += kept;
        if let Some(left) = &mut state.left {
            *left += i128::from(reserved) - i128::from(kept);
        }
    }

    pub(crate) fn mark(&self) -> RoomMark {
        RoomMark(self.0.lock().committed)
    }

    /// `bytes` may be taken beyond what is in segments that were counted after `since` was taken.
    pub(crate) fn set(&self, bytes: Option<u64>, since: RoomMark) {
        let mut state = self.0.lock();
        let claimed = state.reserved + (state.committed - since.0);
        state.left = bytes.map(|bytes| i128::from(bytes) - i128::from(claimed));
    }

    pub(crate) fn left(&self) -> Option<u64> {
        self.0.lock().left.map(|left| u64::try_from(left).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::Room;
    use crate::DataError;

    #[test]
    fn what_is_committed_while_somebody_counts_is_counted_once_or_twice_and_never_not() {
        let room = Room::default();
        room.take(1000).unwrap();
        assert_eq!(room.left(), None, "nobody has said");
        let mark = room.mark();
        room.take(30).unwrap();
        room.end(30, 20);
        room.set(Some(1100), mark);
        assert_eq!(room.left(), Some(80), "1000 are reserved, and 20 were committed meanwhile");
        let refused = room.take(81).unwrap_err();
        assert!(
            matches!(refused, DataError::TerritoryFull { left_bytes: 80, wanted_bytes: 81 }),
            "{refused}"
        );
        room.take(80).unwrap();
        room.give(80);
        room.end(1000, 400);
        assert_eq!(room.left(), Some(680));
        room.set(Some(0), room.mark());
        assert!(room.take(1).is_err());
        room.take(0).unwrap();
        room.set(None, room.mark());
        room.take(1 << 40).unwrap();
    }
}
