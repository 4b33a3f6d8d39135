//! What was measured, as a table: medians with least and most, and ratios to the first server.

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// What one server did with one kind of load, round by round.
#[derive(Clone, Debug, Default)]
struct Cell {
    per_second: Vec<f64>,
    cpu_us: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

/// All cells, kinds of load in the order they came.
#[derive(Debug)]
pub struct Table {
    servers: Vec<&'static str>,
    ops: Vec<&'static str>,
    cells: BTreeMap<(&'static str, usize), Cell>,
}

impl Table {
    /// An empty table; ratios are to the first of `servers`.
    pub fn new(servers: Vec<&'static str>) -> Self {
        Self { servers, ops: Vec::new(), cells: BTreeMap::new() }
    }
    /// Notes a run of the load tool.
    pub fn add(&mut self, op: &'static str, server: usize, run: &Value) {
        if !self.ops.contains(&op) {
            self.ops.push(op);
        }
        let cell = self.cells.entry((op, server)).or_default();
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        cell.per_second.push(number(&run["ops"][0]["per_second"]));
        cell.cpu_us.push(number(&run["server"]["cpu_us_per_op"]));
        cell.p50_ms.push(number(&run["ops"][0]["latency_ms"]["p50"]));
        cell.p99_ms.push(number(&run["ops"][0]["latency_ms"]["p99"]));
    }
    /// One line on a kind of load.
    pub fn said(&self, op: &'static str) -> String {
        let one =
            |(at, name): (usize, &&str)| format!("{name} {:.0}/s", median(&self.cell(op, at).per_second));
        self.servers.iter().enumerate().map(one).collect::<Vec<_>>().join(", ")
    }
    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let all = self.cells.iter().map(|((op, server), cell)| {
            json!({"op": op, "server": self.servers[*server], "per_second": cell.per_second,
                   "cpu_us": cell.cpu_us, "p50_ms": cell.p50_ms, "p99_ms": cell.p99_ms})
        });
        Value::Array(all.collect())
    }
    fn cell(&self, op: &'static str, server: usize) -> Cell {
        self.cells.get(&(op, server)).cloned().unwrap_or_default()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "Answers a second (least to most), and how often the gateway's rate that is; CPU us; p50 and p99 in ms.\n"
        )?;
        writeln!(f, "| | {} |", self.servers.join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(self.servers.len()))?;
        for op in &self.ops {
            write!(f, "| {op} |")?;
            let ours = median(&self.cell(op, 0).per_second);
            for at in 0..self.servers.len() {
                let cell = self.cell(op, at);
                let (least, most) = spread(&cell.per_second);
                let rate = median(&cell.per_second);
                let places = if rate < 20.0 { 2 } else { 0 };
                write!(f, " **{rate:.places$}** ({least:.places$} to {most:.places$})")?;
                if at > 0 {
                    write!(f, ", gateway {:.1} x", ours / rate)?;
                }
                write!(f, "; {:.0} us", median(&cell.cpu_us))?;
                write!(f, "; {:.2}, {:.2} |", median(&cell.p50_ms), median(&cell.p99_ms))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn spread(values: &[f64]) -> (f64, f64) {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    (least, values.iter().copied().fold(f64::NEG_INFINITY, f64::max))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Table;

    #[test]
    fn medians_and_ratios_are_of_the_rounds() {
        let mut table = Table::new(vec!["gateway", "other"]);
        let run = |rate: f64| {
            json!({"ops": [{"per_second": rate, "latency_ms": {"p50": 1.0, "p99": 2.0}}],
                                      "server": {"cpu_us_per_op": 30.0}})
        };
        for rate in [90.0, 100.0, 500.0] {
            table.add("PUT", 0, &run(rate));
            table.add("PUT", 1, &run(rate / 4.0));
        }
        assert_eq!(table.said("PUT"), "gateway 100/s, other 25/s");
        let text = table.to_string();
        assert!(text.contains("**100** (90 to 500); 30 us; 1.00, 2.00"), "{text}");
        assert!(text.contains("gateway 4.0 x"), "{text}");
    }
}
