//! Where the bytes are: twelve fragments of every segment, on twelve miners, in an Active deal.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::stack::Stack;
use crate::run::Result;

/// Fragments of a stripe.
const FRAGMENTS: usize = 12;
/// A miner of this machine answers at once or not at all.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// What the placements of some objects came to.
#[derive(Debug, Default)]
pub struct Placed {
    /// Segments seen.
    pub segments: BTreeSet<u64>,
    /// Their deals on chain.
    pub deals: BTreeSet<String>,
    /// Endpoints by miner.
    pub miners: BTreeMap<String, String>,
}

/// Asks for the placement of each object and fails unless it is complete.
pub fn check(stack: &Stack, bucket: &str, keys: &[&String]) -> Result<Placed> {
    let mut placed = Placed::default();
    for key in keys {
        let object = format!("s3://{bucket}/{key}");
        let answer = stack.ask(&["placement", &object])?;
        let ranges = answer["ranges"].as_array().ok_or_else(|| format!("{object}: {answer}"))?;
        for range in ranges {
            check_range(&mut placed, range).map_err(|error| format!("{object}: {error}"))?;
        }
    }
    Ok(placed)
}

fn check_range(placed: &mut Placed, range: &Value) -> Result<()> {
    let segment = range["segment"].as_u64().ok_or_else(|| format!("no segment in {range}"))?;
    if range["state"] != "finalized" {
        return Err(format!("segment {segment} is {} and not in an Active deal", range["state"]));
    }
    let fid = range["fid"].as_str().ok_or_else(|| format!("segment {segment} has no deal"))?;
    let fragments = range["fragments"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |fragment: &Value, name: &str| fragment[name].as_str().unwrap_or_default().to_owned();
    let indexes: BTreeSet<_> = fragments.iter().filter_map(|fragment| fragment["index"].as_u64()).collect();
    let miners: BTreeMap<_, _> =
        fragments.iter().map(|fragment| (text(fragment, "miner"), text(fragment, "endpoint"))).collect();
    if fragments.len() != FRAGMENTS || indexes.len() != FRAGMENTS || miners.len() != FRAGMENTS {
        return Err(format!(
            "segment {segment} has {} fragments on {} miners, and not {FRAGMENTS} on {FRAGMENTS}",
            fragments.len(),
            miners.len()
        ));
    }
    placed.segments.insert(segment);
    placed.deals.insert(fid.to_owned());
    placed.miners.extend(miners);
    Ok(())
}

/// Fails unless nothing is under way and every deal seen is one that became Active.
pub fn check_status(status: &Value, placed: &Placed) -> Result<String> {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let dispersal = &status["dispersal"];
    let under_way = dispersal["deals"].as_array().map_or(0, Vec::len);
    let active = number(&dispersal["deals_active"]);
    let waiting = number(&status["segments"]["sealed"]) + number(&status["segments"]["dispersed"]);
    if under_way > 0 || waiting > 0 {
        return Err(format!("{under_way} deals are under way and {waiting} segments wait after the flush"));
    }
    if active < placed.deals.len() as u64 {
        return Err(format!("{active} deals are Active, but the objects are in {}", placed.deals.len()));
    }
    let finalized = number(&status["segments"]["finalized"]);
    let territory = number(&status["chain"]["territory"]["used_bytes"]);
    Ok(format!(
        "{active} deals Active on chain at block {}, {finalized} segments, {} GiB of territory used",
        status["chain"]["block"],
        territory as f64 / f64::from(1 << 30)
    ))
}

impl Placed {
    /// How many of the miners seen take a connection.
    pub fn answering(&self) -> usize {
        let answers = |endpoint: &&String| {
            let addr = endpoint.strip_prefix("http://").and_then(|addr| addr.parse::<SocketAddr>().ok());
            addr.is_some_and(|addr| TcpStream::connect_timeout(&addr, ANSWER_MAX).is_ok())
        };
        self.miners.values().filter(answers).count()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Placed, check_range, check_status};

    fn range(miners: u64) -> Value {
        let fragments: Vec<_> = (0..12)
            .map(|index| json!({ "index": index, "miner": format!("m{}", index % miners), "endpoint": "http://x" }))
            .collect();
        json!({ "segment": 3, "state": "finalized", "fid": "f", "fragments": fragments })
    }

    #[test]
    fn twelve_fragments_on_twelve_miners_or_an_error() {
        let mut placed = Placed::default();
        check_range(&mut placed, &range(12)).unwrap();
        assert_eq!((placed.segments.len(), placed.miners.len()), (1, 12));
        assert!(check_range(&mut placed, &range(11)).unwrap_err().contains("12 fragments on 11 miners"));
        let mut staged = range(12);
        staged["state"] = json!("dispersed");
        assert!(check_range(&mut placed, &staged).unwrap_err().contains("not in an Active deal"));
    }

    #[test]
    fn nothing_may_be_under_way() {
        let status = |deals: Value, active: u64| json!({ "dispersal": { "deals": deals, "deals_active": active }, "segments": { "finalized": 2 } });
        let mut placed = Placed::default();
        placed.deals.insert("f".to_owned());
        assert!(check_status(&status(json!([]), 1), &placed).is_ok());
        assert!(check_status(&status(json!([{}]), 1), &placed).is_err());
        assert!(check_status(&status(json!([]), 0), &placed).is_err());
    }
}
