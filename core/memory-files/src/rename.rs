//! The three kinds of rename (rename(2)): replace, do not replace, exchange.

use gw_store::files::{Errno, FileId, FileTime, FilesResult, RenameMode};

use crate::tree::{Body, Tree, check_name};

/// One place of a name.
type Place<'a> = (FileId, &'a [u8]);

/// Does it, and names the inodes whose attributes changed with it.
pub fn rename(tree: &mut Tree, from: Place<'_>, to: Place<'_>, mode: RenameMode) -> FilesResult<Vec<FileId>> {
    check_name(to.1)?;
    let source = tree.child(from.0, from.1)?;
    let target = tree.names(to.0)?.get(to.1);
    tree.check_alive(to.0)?;
    check_loop(tree, source, to.0)?;
    let now = tree.now();
    match (mode, target) {
        (RenameMode::NoReplace, Some(_)) => Err(Errno::Exists.into()),
        (RenameMode::Exchange, None) => Err(Errno::NoEntry.into()),
        (_, Some(target)) if target == source => Ok(Vec::new()),
        (RenameMode::Exchange, Some(target)) => {
            check_loop(tree, target, from.0)?;
            exchange(tree, (from, source), (to, target), now)?;
            Ok(vec![source, target])
        }
        (_, target) => {
            if let Some(target) = target {
                check_replaceable(tree, source, target)?;
            }
            replace(tree, (from, source), to, target, now)?;
            Ok(std::iter::once(source).chain(target).collect())
        }
    }
}

/// A directory cannot go below itself.
fn check_loop(tree: &Tree, moved: FileId, into: FileId) -> FilesResult<()> {
    if !tree.is_directory(moved) {
        return Ok(());
    }
    let mut above = into;
    loop {
        if above == moved {
            return Err(Errno::Invalid.into());
        }
        if above == FileId::ROOT {
            return Ok(());
        }
        above = tree.names(above)?.parent;
    }
}

fn check_replaceable(tree: &Tree, source: FileId, target: FileId) -> FilesResult<()> {
    match (tree.is_directory(source), tree.is_directory(target)) {
        (true, false) => Err(Errno::NotDirectory.into()),
        (false, true) => Err(Errno::IsDirectory.into()),
        (true, true) if !tree.names(target)?.is_empty() => Err(Errno::NotEmpty.into()),
        _ => Ok(()),
    }
}

fn replace(
    tree: &mut Tree,
    (from, source): (Place<'_>, FileId),
    to: Place<'_>,
    target: Option<FileId>,
    now: FileTime,
) -> FilesResult<()> {
    let directory = tree.is_directory(source);
    tree.names_mut(from.0)?.remove(from.1);
    tree.names_mut(to.0)?.remove(to.1);
    tree.names_mut(to.0)?.add(to.1, source);
    if directory {
        tree.inode_mut(from.0)?.attr.nlink -= 1;
        // A directory that is replaced takes its link to the parent along.
        if target.is_none() {
            tree.inode_mut(to.0)?.attr.nlink += 1;
        }
    }
    settle(tree, source, to.0, now)?;
    tree.touch(from.0, now);
    tree.touch(to.0, now);
    if let Some(target) = target {
        tree.drop_name(target, now);
    }
    Ok(())
}

fn exchange(
    tree: &mut Tree,
    (from, source): (Place<'_>, FileId),
    (to, target): (Place<'_>, FileId),
    now: FileTime,
) -> FilesResult<()> {
    tree.names_mut(from.0)?.point(from.1, target);
    tree.names_mut(to.0)?.point(to.1, source);
    for (moved, out_of, into) in [(source, from.0, to.0), (target, to.0, from.0)] {
        if tree.is_directory(moved) {
            tree.inode_mut(out_of)?.attr.nlink -= 1;
            tree.inode_mut(into)?.attr.nlink += 1;
        }
        settle(tree, moved, into, now)?;
    }
    tree.touch(from.0, now);
    tree.touch(to.0, now);
    Ok(())
}

/// What moved has a new parent and a new time of change.
fn settle(tree: &mut Tree, moved: FileId, parent: FileId, now: FileTime) -> FilesResult<()> {
    let inode = tree.inode_mut(moved)?;
    inode.attr.ctime = now;
    if let Body::Names(names) = &mut inode.body {
        names.parent = parent;
    }
    Ok(())
}
