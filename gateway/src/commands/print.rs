//! Answers for people: aligned, terse, most urgent first.

use std::fmt::Write;

use super::size::show;
use crate::admin::wire::{BucketLine, Compacted, Dropped, PlacementAnswer, Status, TerritoryLine, UserLine};

/// `status`.
pub fn status(status: &Status) -> String {
    let mut text = String::new();
    for alarm in &status.alarms {
        line(&mut text, format_args!("ALARM  {alarm}"));
    }
    if !status.simulated.is_empty() {
        line(&mut text, format_args!("simulated: {}", status.simulated.join(", ")));
    }
    let marks = &status.watermarks;
    line(
        &mut text,
        format_args!(
            "commits    {} appended, {} staged, {} dispersed, {} finalized",
            marks.appended, marks.staged, marks.dispersed, marks.finalized
        ),
    );
    line(
        &mut text,
        format_args!(
            "objects    {} in {} buckets, {}",
            status.objects,
            status.buckets.len(),
            show(status.object_bytes)
        ),
    );
    let segments = &status.segments;
    line(
        &mut text,
        format_args!(
            "segments   {} open, {} sealed, {} dispersed, {} finalized; {} used, {} live",
            segments.open,
            segments.sealed,
            segments.dispersed,
            segments.finalized,
            show(segments.used_bytes),
            show(segments.live_bytes)
        ),
    );
    let staging = &status.staging;
    line(
        &mut text,
        format_args!(
            "staging    {} of {}; cache {} in memory, {} of {} on disk",
            show(staging.used_bytes),
            show(staging.max_bytes),
            show(staging.cache_bytes),
            show(status.disk_cache.bytes),
            show(status.disk_cache.max_bytes)
        ),
    );
    let dispersal = &status.dispersal;
    line(
        &mut text,
        format_args!(
            "dispersal  {} deals under way, {} made active since the start; {} of {} miners answered the last probe",
            dispersal.deals.len(),
            dispersal.deals_active,
            dispersal.miners_healthy,
            dispersal.miners_known
        ),
    );
    for deal in &dispersal.deals {
        line(
            &mut text,
            format_args!(
                "           {}…  {} segments, {}, {} of 12 columns held",
                &deal.fid[..12.min(deal.fid.len())],
                deal.segments,
                deal.state,
                deal.columns_held
            ),
        );
    }
    let chain = &status.chain;
    line(
        &mut text,
        format_args!(
            "chain      block {}, account {}, {} CESS",
            chain.block,
            chain.account,
            cess(&chain.balance)
        ),
    );
    if let Some(territory) = &chain.territory {
        line(
            &mut text,
            format_args!(
                "territory  {} ({}), {} of {} left, {} days",
                territory.name,
                territory.state,
                show(territory.remaining_bytes),
                show(territory.total_bytes),
                territory.days_left
            ),
        );
    }
    let locks = &status.locks;
    if locks.until.is_some() || locks.held > 0 {
        let until = locks.until.as_deref().unwrap_or("no date");
        line(
            &mut text,
            format_args!(
                "locks      until {until}, {} under legal hold; renewal: {}",
                locks.held, locks.renew
            ),
        );
    }
    let compaction = &status.compaction;
    line(
        &mut text,
        format_args!(
            "deals      {} segments with {} alive and {} dead; {} of the log; compaction {}, {} given back since the start",
            compaction.segments,
            show(compaction.live_bytes),
            show(compaction.dead_bytes),
            compaction.log_segments,
            compaction.phase,
            show(compaction.done.freed_bytes)
        ),
    );
    if let Some(room) = &compaction.room {
        line(
            &mut text,
            format_args!(
                "room       {} for bodies; {} of the territory free, {} of it kept for deleting and compacting",
                show(room.bodies_bytes),
                show(room.free_bytes),
                show(room.reserve_bytes)
            ),
        );
    }
    for queue in &status.events {
        line(
            &mut text,
            format_args!(
                "events     {} wait for {}; {} delivered, {} given up, {} lost to a full queue, {} failures",
                queue.pending, queue.target, queue.delivered, queue.dead, queue.dropped, queue.failures
            ),
        );
    }
    let kind = if status.key.simulated {
        format!("{}, simulated TEE", status.key.kind)
    } else {
        status.key.kind.clone()
    };
    line(
        &mut text,
        format_args!(
            "root key   {} ({kind})",
            &status.key.fingerprint[..16.min(status.key.fingerprint.len())]
        ),
    );
    text
}

/// `placement`.
pub fn placement(answer: &PlacementAnswer) -> String {
    let mut text = String::new();
    line(&mut text, format_args!("{}  {}", show(answer.size), answer.etag));
    for range in &answer.ranges {
        let fid = range.fid.as_deref().unwrap_or("no deal yet");
        line(
            &mut text,
            format_args!(
                "bytes {}-{}  segment {} fragment {}  {}{}  {fid}",
                range.first,
                range.last,
                range.segment,
                range.fragment,
                range.state,
                if range.local { ", also here" } else { "" }
            ),
        );
        for fragment in &range.fragments {
            let kind = if fragment.data { "data  " } else { "parity" };
            line(
                &mut text,
                format_args!("  {:>2} {kind} {}  {}", fragment.index, fragment.endpoint, fragment.miner),
            );
        }
    }
    line(&mut text, format_args!("note: {}", answer.note));
    text
}

/// `territory list`.
pub fn territories(territories: &[TerritoryLine]) -> String {
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "{:<32} {:<10} {:>10} {:>10} {:>10} {:>6}",
            "NAME", "STATE", "TOTAL", "USED", "LEFT", "DAYS"
        ),
    );
    for territory in territories {
        line(
            &mut text,
            format_args!(
                "{:<32} {:<10} {:>10} {:>10} {:>10} {:>6}",
                territory.name,
                territory.state,
                show(territory.total_bytes),
                show(territory.used_bytes),
                show(territory.remaining_bytes),
                territory.days_left
            ),
        );
    }
    text
}

/// `user list`.
pub fn users(users: &[UserLine]) -> String {
    let mut text = String::new();
    let limit = |limit: Option<u64>, shown: fn(u64) -> String| limit.map_or("-".to_owned(), shown);
    let rate = |rate: Option<u64>, shown: fn(u64) -> String| match rate {
        None => "default".to_owned(),
        Some(0) => "-".to_owned(),
        Some(rate) => shown(rate),
    };
    line(
        &mut text,
        format_args!(
            "{:<20} {:<5} {:>9} {:>10} {:>11} {:>11} {:>9} {:>10}  ACCESS KEYS",
            "NAME", "ADMIN", "OBJECTS", "BYTES", "OBJECTS MAX", "BYTES MAX", "REQ/S", "BYTES/S"
        ),
    );
    for user in users {
        line(
            &mut text,
            format_args!(
                "{:<20} {:<5} {:>9} {:>10} {:>11} {:>11} {:>9} {:>10}  {}",
                user.name,
                if user.admin { "yes" } else { "" },
                user.objects,
                show(user.bytes),
                limit(user.objects_max, |count| count.to_string()),
                limit(user.bytes_max, show),
                rate(user.requests_per_second, |count| count.to_string()),
                rate(user.bytes_per_second, show),
                user.access_keys.join(" ")
            ),
        );
    }
    text
}

/// `bucket list`.
pub fn buckets(buckets: &[BucketLine]) -> String {
    let limit = |limit: Option<u64>, shown: fn(u64) -> String| limit.map_or("-".to_owned(), shown);
    let mut text = String::new();
    line(
        &mut text,
        format_args!(
            "{:<40} {:<16} {:>10} {:>10} {:>12} {:>12}",
            "NAME", "OWNER", "OBJECTS", "BYTES", "BYTES MAX", "OBJECTS MAX"
        ),
    );
    for bucket in buckets {
        line(
            &mut text,
            format_args!(
                "{:<40} {:<16} {:>10} {:>10} {:>12} {:>12}",
                bucket.name,
                bucket.owner,
                bucket.objects,
                show(bucket.bytes),
                limit(bucket.bytes_max, show),
                limit(bucket.objects_max, |count| count.to_string())
            ),
        );
    }
    text
}

/// `compact`.
pub fn compacted(done: &Compacted) -> String {
    let mut text = String::new();
    if done.deals == 0 {
        line(&mut text, format_args!("nothing that pays: no deal was moved"));
    } else {
        line(
            &mut text,
            format_args!(
                "{} deals gave back {} of territory, their new homes took {}; {} were copied",
                done.deals,
                show(done.freed_bytes),
                show(done.taken_bytes),
                show(done.moved_bytes)
            ),
        );
    }
    if let Some(hindrance) = &done.hindrance {
        line(&mut text, format_args!("left: {hindrance}"));
    }
    text
}

/// `cache drop`.
pub fn dropped(dropped: &Dropped) -> String {
    format!(
        "{} of cache in memory and {} on disk dropped; {} segments evicted, {} kept because they are not finalized\n",
        show(dropped.cache_bytes),
        show(dropped.disk_cache_bytes),
        dropped.segments_evicted,
        dropped.segments_kept
    )
}

/// Whole CESS of a planck amount (18 decimals).
fn cess(planck: &str) -> String {
    match planck.len().checked_sub(18) {
        Some(whole) if whole > 0 => planck[..whole].to_owned(),
        _ if planck.is_empty() => "?".to_owned(),
        _ => "0".to_owned(),
    }
}

fn line(text: &mut String, args: std::fmt::Arguments<'_>) {
    writeln!(text, "{args}").expect("writing to a string cannot fail");
}
