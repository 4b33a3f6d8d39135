//! Work on layers that nobody waits for: letting go of the leaves of dead ones, and making one of two
//! where the lower is seen through the upper alone.
//!
//! Each call is a part of one commit and touches [`STEP_LEAVES`] leaves at most. What every map shows is
//! the same before and after, so a crash, a reader or a writer between two steps notices nothing. Rows of
//! the task table, written in the commit that made the work, say what is left.
//!
//! Making one of two, child C on parent P:
//!
//! 1. What C does not show of P goes, and C's base becomes all of P.
//! 2. If C has fewer leaves, they move down into P, hiding what was there; else those of P that C lacks
//!    move up.
//! 3. The one that is empty now goes: C takes over P's base, and, when leaves went down, the number that
//!    they stand under.

use std::ops::Range;

use gw_db::{DbError, Txn};
use gw_types::MapId;

use super::Piece;
use super::edit::{change_refs, set_base, window_leaf};
use super::layer::{HOLE, LEAF_BYTES, is_layer, layer_row};
use super::refs::{Accounts, drop_refs};
use super::slice::restrict_pieces;
use crate::rows::{self, LayerRow};

/// Leaves that one step touches.
const STEP_LEAVES: usize = if cfg!(test) { 3 } else { 256 };
/// Length of a piece that shows all of a layer.
const SPAN: u64 = 1 << 62;
const ALL: (u64, u64) = (0, u64::MAX);

/// A layer that is being tended.
struct Node {
    id: MapId,
    row: LayerRow,
    base: Vec<Piece>,
}

impl Node {
    fn load(txn: &Txn<'_>, id: MapId) -> Result<Self, DbError> {
        Ok(Self { id, row: layer_row(txn, id)?, base: rows::base(txn, id)? })
    }
    fn save(&self, txn: &mut Txn<'_>) {
        rows::put_layer(txn, self.id, &self.row);
    }
}

/// One step on a layer of the task table. Answers whether it was the last.
pub(crate) fn tend(txn: &mut Txn<'_>, id: MapId) -> Result<bool, DbError> {
    let Some(row) = rows::layer(txn, id)? else {
        rows::delete_task(txn, id);
        return Ok(true);
    };
    txn.stream(row.stream);
    let mut accounts = Accounts::default();
    let done = if row.refs == 0 {
        bury(txn, &mut accounts, id, row)?
    } else {
        match only_child(txn, id, &row)? {
            Some((child, windows)) => merge(txn, &mut accounts, Node::load(txn, id)?, child, &windows)?,
            None => true,
        }
    };
    if done {
        rows::delete_task(txn, id);
    }
    accounts.write(txn)?;
    Ok(done)
}

fn bury(txn: &mut Txn<'_>, accounts: &mut Accounts, id: MapId, mut row: LayerRow) -> Result<bool, DbError> {
    let page = rows::leaves(txn, row.store, ALL, STEP_LEAVES)?;
    for (index, entries) in &page {
        accounts.drop(entries);
        rows::delete_leaf(txn, row.store, *index);
        row.leaves -= 1;
    }
    if page.len() == STEP_LEAVES {
        rows::put_layer(txn, id, &row);
        return Ok(false);
    }
    assert!(row.leaves == 0, "a layer counts its leaves");
    let base = rows::base(txn, id)?;
    set_base(txn, id, &base, &Vec::new());
    rows::delete_layer(txn, id);
    for piece in &base {
        drop_refs(txn, accounts, piece.map, 1)?;
    }
    Ok(true)
}

/// A layer, and what it shows of the one below.
type Above = (Node, Vec<Range<u64>>);

/// The layer whose base has all references to this one, and which parts of it it shows; `None` where
/// there is no such layer, or it shows them elsewhere than they stand, or besides others.
fn only_child(txn: &Txn<'_>, id: MapId, row: &LayerRow) -> Result<Option<Above>, DbError> {
    let [child] = rows::children(txn, id, 2)?[..] else { return Ok(None) };
    let child = Node::load(txn, child)?;
    let mut windows = Vec::new();
    let mut at = 0;
    for piece in &child.base {
        if piece.map == id && piece.skip == at {
            windows.push(at..at + piece.len);
        } else if piece.map != HOLE {
            return Ok(None);
        }
        at += piece.len;
    }
    Ok((windows.len() as u64 == row.refs).then_some((child, windows)))
}

fn merge(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    mut parent: Node,
    mut child: Node,
    windows: &[Range<u64>],
) -> Result<bool, DbError> {
    txn.stream(child.row.stream);
    let all = 0..SPAN;
    if windows != std::slice::from_ref(&all) {
        if !prune(txn, accounts, &mut parent, windows)? {
            parent.save(txn);
            return Ok(false);
        }
        let base = restrict_pieces(&parent.base, windows);
        set_base(txn, parent.id, &parent.base, &base);
        change_refs(txn, accounts, &parent.base, &base)?;
        parent.base = base;
        let all = vec![Piece { len: SPAN, map: parent.id, skip: 0 }];
        set_base(txn, child.id, &child.base, &all);
        child.base = all;
        parent.row.refs = 1;
    }
    let emptied = if child.row.leaves <= parent.row.leaves {
        push_down(txn, accounts, &mut parent, &mut child)?
    } else {
        pull_up(txn, accounts, &mut parent, &mut child)?
    };
    if emptied {
        take_over(txn, &parent, &mut child);
    } else {
        parent.save(txn);
    }
    child.save(txn);
    Ok(emptied)
}

/// Lets go of what lies outside of the windows. `false`: there is more.
fn prune(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    parent: &mut Node,
    windows: &[Range<u64>],
) -> Result<bool, DbError> {
    let mut left = STEP_LEAVES;
    let starts = std::iter::once(0).chain(windows.iter().map(|window| window.end));
    let ends = windows.iter().map(|window| window.start).chain([u64::MAX]);
    for (from, to) in starts.zip(ends) {
        if from >= to {
            continue;
        }
        let indices = (from / LEAF_BYTES, to.div_ceil(LEAF_BYTES));
        // The two at the borders may stay, and be met again.
        let page = rows::leaves(txn, parent.row.store, indices, left + 2)?;
        for (index, entries) in page {
            let shown = window_leaf(index, &entries, windows);
            let is_outside =
                !windows.iter().any(|w| w.start < (index + 1) * LEAF_BYTES && index * LEAF_BYTES < w.end);
            if !is_outside && shown == entries {
                continue;
            }
            if left == 0 {
                return Ok(false);
            }
            left -= 1;
            accounts.drop(&entries);
            if is_outside {
                rows::delete_leaf(txn, parent.row.store, index);
                parent.row.leaves -= 1;
            } else {
                accounts.refer(&shown);
                rows::put_leaf(txn, parent.row.store, index, &shown);
            }
        }
        if left == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Moves leaves of the child into the parent; `true` when it has none left.
fn push_down(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    parent: &mut Node,
    child: &mut Node,
) -> Result<bool, DbError> {
    let page = rows::leaves(txn, child.row.store, ALL, STEP_LEAVES)?;
    for (index, entries) in &page {
        match rows::leaf(txn, parent.row.store, *index)? {
            Some(hidden) => accounts.drop(&hidden),
            None => parent.row.leaves += 1,
        }
        rows::put_leaf(txn, parent.row.store, *index, entries);
        rows::delete_leaf(txn, child.row.store, *index);
        child.row.leaves -= 1;
    }
    if page.len() == STEP_LEAVES {
        return Ok(false);
    }
    assert!(child.row.leaves == 0, "a layer counts its leaves");
    (child.row.store, child.row.leaves) = (parent.row.store, parent.row.leaves);
    Ok(true)
}

/// Moves leaves of the parent that the child lacks into the child; `true` when none are left.
fn pull_up(
    txn: &mut Txn<'_>,
    accounts: &mut Accounts,
    parent: &mut Node,
    child: &mut Node,
) -> Result<bool, DbError> {
    let page = rows::leaves(txn, parent.row.store, ALL, STEP_LEAVES)?;
    for (index, entries) in &page {
        if rows::leaf(txn, child.row.store, *index)?.is_some() {
            accounts.drop(entries);
        } else {
            rows::put_leaf(txn, child.row.store, *index, entries);
            child.row.leaves += 1;
        }
        rows::delete_leaf(txn, parent.row.store, *index);
        parent.row.leaves -= 1;
    }
    if page.len() == STEP_LEAVES {
        return Ok(false);
    }
    assert!(parent.row.leaves == 0, "a layer counts its leaves");
    Ok(true)
}

/// The child stands on what its parent stood on, and the parent is gone.
fn take_over(txn: &mut Txn<'_>, parent: &Node, child: &mut Node) {
    set_base(txn, parent.id, &parent.base, &Vec::new());
    set_base(txn, child.id, &child.base, &parent.base);
    rows::delete_layer(txn, parent.id);
    child.base.clone_from(&parent.base);
    for piece in parent.base.iter().filter(|piece| is_layer(piece.map)) {
        rows::put_task(txn, piece.map);
    }
}
