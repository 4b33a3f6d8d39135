//! What `/metrics` says: the gateway's gauges and counters in Prometheus' text format.
//!
//! Values are read when they are asked for; nothing here keeps any.

use super::routes::Gateway;
use super::wire::EventLine;

impl Gateway {
    pub(super) fn metrics(&self) -> String {
        let mut text = self.s3.render();
        let db = self.core.db.stats();
        let marks = self.core.dispersal.marks();
        let data = self.core.data.status().unwrap_or_default();
        let dispersal = self.core.dispersal.status();
        let mut gauge = |name: &str, help: &str, value: u64| {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n"));
        };
        gauge("cess_gateway_lsn_appended", "Newest commit.", db.appended.0);
        gauge("cess_gateway_lsn_staged", "Newest commit in the synced journal.", db.staged.0);
        gauge("cess_gateway_lsn_dispersed", "Newest commit held by miners, as a prefix.", marks.dispersed.0);
        gauge("cess_gateway_lsn_finalized", "Newest commit in Active deals, as a prefix.", marks.finalized.0);
        gauge("cess_gateway_journal_bytes", "Journal files on disk.", db.journal_bytes);
        gauge("cess_gateway_overlay_bytes", "Rows in memory.", db.overlay_bytes);
        gauge("cess_gateway_staging_bytes", "Staged and reserved bytes.", data.staging_used_bytes);
        gauge("cess_gateway_staging_bytes_max", "Their limit.", data.staging_bytes_max);
        gauge("cess_gateway_cache_bytes", "Sealed frames in memory.", data.cache_bytes);
        let disk_cache = &data.disk_cache;
        gauge("cess_gateway_disk_cache_bytes", "Sealed frames from miners on the disk.", disk_cache.bytes);
        gauge("cess_gateway_disk_cache_bytes_max", "Their limit; 0: no such cache.", disk_cache.bytes_max);
        gauge("cess_gateway_disk_cache_hits", "Reads served from them since the start.", disk_cache.hits);
        gauge("cess_gateway_disk_cache_misses", "Reads that they could not serve.", disk_cache.misses);
        gauge(
            "cess_gateway_disk_cache_off",
            "1 when that cache has turned itself off.",
            u64::from(disk_cache.off.is_some()),
        );
        gauge("cess_gateway_fetched_bytes", "Sealed bytes fetched from miners.", data.reads.fetched_bytes);
        gauge("cess_gateway_deals_under_way", "Deals that are not Active yet.", dispersal.deals.len() as u64);
        gauge(
            "cess_gateway_miners_healthy",
            "Miners that answered the last probe.",
            dispersal.miners_healthy as u64,
        );
        let compaction = &dispersal.compaction;
        let is_running = compaction.phase != gw_dispersal::CompactionPhase::Idle;
        gauge("cess_gateway_compaction_running", "1 while deals are compacted.", is_running.into());
        gauge(
            "cess_gateway_deals_live_bytes",
            "Bytes in Active deals that are needed.",
            compaction.live_bytes,
        );
        gauge("cess_gateway_deals_dead_bytes", "Bytes in Active deals that are not.", compaction.dead_bytes);
        gauge(
            "cess_gateway_compaction_freed_bytes",
            "Territory that compaction and collection gave back since the start.",
            compaction.done.freed_bytes,
        );
        gauge(
            "cess_gateway_compaction_moved_bytes",
            "Sealed bytes copied for it.",
            compaction.done.moved_bytes,
        );
        let room = dispersal.room.unwrap_or_default();
        gauge("cess_gateway_territory_free_bytes", "Territory that may still be declared.", room.free_bytes);
        gauge("cess_gateway_territory_reserve_bytes", "Of it, kept from bodies.", room.reserve_bytes);
        gauge("cess_gateway_territory_full", "1 while new bodies are refused for it.", room.is_full.into());
        gauge(
            "cess_gateway_simulated",
            "Development stand-ins behind this gateway.",
            self.simulated.len() as u64,
        );
        if let Some(lost) = &self.access_lost {
            let (name, count) = ("cess_gateway_access_lines_lost_total", lost.count());
            text.push_str(&format!("# HELP {name} Lines of the access log that were lost.\n"));
            text.push_str(&format!("# TYPE {name} counter\n{name} {count}\n"));
        }
        text.push_str(&event_metrics(&self.event_lines()));
        text.push_str(&self.core.care.metrics());
        text.push_str(&self.mounts.metrics());
        text
    }
}

type CountOf = fn(&EventLine) -> u64;

fn event_metrics(lines: &[EventLine]) -> String {
    let mut text = String::new();
    let families: [(&str, &str, &str, CountOf); 5] = [
        ("cess_events_pending", "gauge", "Events that wait for a target.", |line| line.pending),
        ("cess_events_delivered_total", "counter", "Events that it has taken.", |line| line.delivered),
        ("cess_events_dead_total", "counter", "Events given up.", |line| line.dead),
        ("cess_events_dropped_total", "counter", "Events lost to a full queue.", |line| line.dropped),
        ("cess_events_failures_total", "counter", "Failed tellings since the start.", |line| line.failures),
    ];
    for (name, kind, help, value) in families {
        if !lines.is_empty() {
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        }
        for line in lines {
            text.push_str(&format!("{name}{{target=\"{}\"}} {}\n", line.target, value(line)));
        }
    }
    text
}
